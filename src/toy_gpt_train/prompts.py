"""prompts.py - Prompt text becomes the context that a model looks at.

A prompt may be longer than a model's context: only its last tokens count. It does not know vocabularies; whether
a token is known is for e_infer.py to say.
"""

from dataclasses import dataclass

from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

_WORDS = WordTokenizer()


@dataclass(frozen=True)
class PromptContext:
    """The tokens of a prompt that a model will see, oldest first.

    Attributes:
        tokens: At most as many as the context has; fewer where the prompt is shorter.
    """

    tokens: tuple[str, ...]


def normalize_prompt_text(prompt: str) -> str:
    """Return a prompt with single spaces between its words and none around.

    WHY letters keep their case: the tokenizer keeps it, and a prompt must be read as the corpus was.

    Args:
        prompt: Any text.

    Returns:
        The same words.

    Example:
        >>> normalize_prompt_text("  The cat   runs ")
        'The cat runs'
    """
    return " ".join(prompt.split())


def prompt_to_tokens(prompt: str, tokenizer: Tokenizer = _WORDS) -> list[str]:
    """Return the tokens of a prompt.

    Args:
        prompt: Any text; white space counts only where the tokenizer keeps it.
        tokenizer: The tokenizer the model was trained with; words by default.

    Returns:
        The tokens in order; none for an empty prompt.

    Example:
        >>> prompt_to_tokens("the cat ")
        ['the', 'cat']
    """
    return tokenizer.tokenize(normalize_prompt_text(prompt) if tokenizer.kind == "word" else prompt)


def select_context_tokens(*, prompt: str, context_window: int, tokenizer: Tokenizer = _WORDS) -> PromptContext:
    """Return the last tokens of a prompt, as many as a model's context holds.

    Args:
        prompt: Any text.
        context_window: N, the number of tokens the model looks back, at least 0.
        tokenizer: The tokenizer the model was trained with; words by default.

    Returns:
        Up to N tokens.

    Raises:
        ValueError: ``context_window`` is negative.

    Example:
        >>> select_context_tokens(prompt="I saw the cat", context_window=2).tokens
        ('the', 'cat')
    """
    if context_window < 0:
        raise ValueError(f"context_window must be at least 0, got {context_window}")
    tokens = prompt_to_tokens(prompt, tokenizer)
    return PromptContext(tuple(tokens[max(len(tokens) - context_window, 0) :]))
