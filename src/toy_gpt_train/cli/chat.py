"""chat.py - ``toy-gpt chat``: a prompt loop. See what the model would say, and what it nearly said."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from toy_gpt_train.cli.arguments import add_run, add_sampling, load_run, sampling_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.generate import begun, write
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.math_training import top_k
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.run import Run
from toy_gpt_train.show import bars, one_line, say, say_pieces
from toy_gpt_train.world.language import END
from toy_gpt_train.world.text import QUOTE, detokenize, speaks_world, tokenize

HELP: Final = "type a prompt, see the continuation and the runners-up; Ctrl-D ends"
LESSON: Final = """Each prompt stands alone: the model sees the last tokens of it, and remembers nothing that was said
before. Words that it has never met are named.

A model of the story world is different: you tell a story in turns, sentence by sentence, and it sees all that was told,
as far back as it looks. Ask it something: Where is Mina? An empty line begins a new story.

examples:
  toy-gpt chat --demo
  toy-gpt chat --base-dir my_run --num 20"""
DEMO: Final = RESOURCE_ROOT / "artifacts" / "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt chat``."""
    add_run(parser, "the run to talk to")
    meaning = "talk to the network that comes with the project: it has read 26,000 stories of the story world"
    parser.add_argument("--demo", dest="base_dir", action="store_const", const=DEMO, help=meaning)
    add_sampling(parser)
    parser.set_defaults(handler=_chat)


def _chat(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    loaded = load_run(args)
    is_world = loaded.tokenizer.kind == "word" and speaks_world(loaded.tokenizer.tokens)
    if sys.stdin.isatty():
        context = loaded.model.context_size
        tokens = f"{context} token{'s' * (context != 1)}"
        say(f"{loaded.name} on {loaded.meta['corpus']['filename']}: it looks back {tokens}.")
        example = "Mina is at the market. Where is Mina?" if is_world else loaded.start_text
        say(f"Try: {example}    (Ctrl-D ends)")
    story: list[str] = []
    while (prompt := _read_prompt()) is not None:
        if not prompt.strip():
            story = []
            continue
        prompt = prompt.lower() if args.lowercase else prompt
        told = [*story, *tokenize(prompt)]
        try:
            probs, pieces = _reply(loaded, " ".join([END, *told]) if is_world else prompt, args.num, sampling)
        except InputError as error:
            say(one_line(str(error)))
            continue
        say("\n".join(bars([(loaded.tokenizer.tokens[i], p) for i, p in top_k(probs, args.topk)])))
        if is_world:
            sentence = _sentence(pieces)
            is_over = sentence[-1:] == [END]
            say(detokenize(sentence).rstrip("\n") or "(the end)")
            story = [] if is_over else told + sentence
        else:
            say_pieces(chain([f"{prompt} > "], pieces))
    return 0


def _sentence(pieces: Iterable[str]) -> list[str]:
    """Return the tokens of the first sentence, or the end mark; what is in quotation marks ends no sentence."""
    tokens: list[str] = []
    for piece in pieces:  # WHY one by one: each token takes time
        tokens += piece.split()
        if tokens[-1:] == [END] or (tokens[-1:] in (["."], ["?"], ["!"]) and tokens.count(QUOTE) % 2 == 0):
            break
    return tokens


def _reply(loaded: Run, prompt: str, num: int, sampling: Sampling) -> tuple[Sequence[float], Iterator[str]]:
    """Return the probabilities of the next token, and the text that follows, as it comes."""
    ids = loaded.start_ids(prompt)
    probs, steps = begun(write(loaded.model, loaded.tokenizer, ids, num, sampling), loaded.model, ids)
    return probs, (step.text for step in steps)


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
