"""chat.py - A prompt loop: see what the model would say, and what it nearly said.

Each prompt stands alone: the model sees its last tokens and nothing of what was said before.
"""

import sys
from typing import Final

from toy_gpt_train.e_infer import Run, Sampling, generate_tokens, next_token_probs, start_token_ids, top_k
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
        print(f"Try: {run.tokenizer.join(run.meta['start_tokens'])}    (Ctrl-D ends)")
    while (prompt := _read_prompt()) is not None:
        if not prompt.strip():
            continue
        context = select_context_tokens(prompt=prompt, context_window=size, tokenizer=run.tokenizer).tokens
        try:
            generated = generate_tokens(run.model, run.vocab, context, num, sampling)
        except InputError as error:
            print(error)
            continue
        probs = next_token_probs(run.model, start_token_ids(run.vocab, context, run.model.least_context))
        print("\n".join(bars([(run.vocab.get_id_token(token_id) or "", p) for token_id, p in top_k(probs, k)])))
        print(f"{prompt} > {run.tokenizer.join(generated[len(context) :])}")
    return 0


def _read_prompt() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        print()
        return None
