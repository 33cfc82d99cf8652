"""chat.py - A prompt loop: see what the model would say, and what it nearly said.

Each prompt stands alone: the model sees its last tokens and nothing of what was said before.
"""

import sys
from typing import Final

from toy_gpt_train.e_infer import Run, Sampling, generate_tokens, top_k
from toy_gpt_train.errors import InputError
from toy_gpt_train.prompts import select_context_tokens
from toy_gpt_train.show import bars

HELP: Final = "type a prompt, see the continuation and the runners-up; Ctrl-D ends"


def chat(run: Run, sampling: Sampling, num: int, k: int) -> int:
    """Answer prompts from standard input until it ends.

    Args:
        run: The trained model.
        sampling: How to choose tokens.
        num: Tokens to add to each prompt.
        k: Likeliest next tokens to show.

    Returns:
        The exit code, 0.
    """
    size = run.model.context_size
    if sys.stdin.isatty():
        print(f"{run.meta['model_kind']} on {run.meta['corpus']['filename']}: it looks back {size} tokens.")
        print(f"Try: {' '.join(run.meta['start_tokens'])}    (Ctrl-D ends)")
    while (prompt := _read_prompt()) is not None:
        if not prompt.strip():
            continue
        context = select_context_tokens(prompt=prompt, context_window=size).tokens
        try:
            generated = generate_tokens(run.model, run.vocab, context, num, sampling)
        except InputError as error:
            print(error)
            continue
        token_ids = [token_id for token in context if (token_id := run.vocab.get_token_id(token)) is not None]
        likeliest = top_k(run.model.forward(*token_ids), k)
        print("\n".join(bars([(run.vocab.get_id_token(token_id) or "", p) for token_id, p in likeliest])))
        print(f"{prompt.strip()} > {' '.join(generated[len(context) :])}")
    return 0


def _read_prompt() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        print()
        return None
