"""prompts.py - Prompt text becomes the context that a model looks at.

A prompt may be longer than a model's context: only its last words count. It does not know which words are known.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptContext:
    """The last tokens of a prompt, oldest first; fewer than the context holds if the prompt is shorter."""

    tokens: tuple[str, ...]


def normalize_prompt_text(prompt: str) -> str:
    """Return a prompt with single spaces between its words and none around; letters keep their case."""
    return " ".join(prompt.split())


def prompt_to_tokens(prompt: str) -> list[str]:
    """Return the words of a prompt."""
    return prompt.split()


def select_context_tokens(*, prompt: str, context_window: int) -> PromptContext:
    """Return the last words of a prompt, as many as a model's context holds.

    Example:
        >>> select_context_tokens(prompt="I saw the cat", context_window=2).tokens
        ('the', 'cat')
    """
    if context_window < 0:
        raise ValueError(f"context_window must be at least 0, got {context_window}")
    tokens = prompt_to_tokens(prompt)
    return PromptContext(tuple(tokens[max(len(tokens) - context_window, 0) :]))
