"""chat.py - ``toy-gpt chat``: a prompt loop. See what the model would say, and what it nearly said."""

import argparse
import sys
from typing import Final

from toy_gpt_train.cli.arguments import add_run, add_sampling, load_run, sampling_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.generate import continuation
from toy_gpt_train.math_training import top_k
from toy_gpt_train.show import bars, one_line, say

HELP: Final = "type a prompt, see the continuation and the runners-up; Ctrl-D ends"
LESSON: Final = """Each prompt stands alone: the model sees the last tokens of it, and remembers nothing that was said
before. Words that it has never met are named.

example:
  toy-gpt chat --base-dir my_run --temperature 0.8"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt chat``."""
    add_run(parser, "the run to talk to")
    add_sampling(parser)
    parser.set_defaults(handler=_chat)


def _chat(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    loaded = load_run(args)
    model, tokenizer = loaded.model, loaded.tokenizer
    if sys.stdin.isatty():
        tokens = f"{model.context_size} token{'s' * (model.context_size != 1)}"
        say(f"{loaded.name} on {loaded.meta['corpus']['filename']}: it looks back {tokens}.")
        say(f"Try: {loaded.start_text}    (Ctrl-D ends)")
    while (prompt := _read_prompt()) is not None:
        if not prompt.strip():
            continue
        try:
            probs, chosen = continuation(model, loaded.start_ids(prompt), args.num, sampling)
        except InputError as error:
            say(one_line(str(error)))
            continue
        say("\n".join(bars([(tokenizer.tokens[i], p) for i, p in top_k(probs, args.topk)])))
        say(f"{prompt} > {tokenizer.decode(chosen)}")
    return 0


def _read_prompt() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        line = input("> ") + "\n" if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        line = ""
    if line:
        return line.removesuffix("\n").removesuffix("\r")
    say()
    return None
