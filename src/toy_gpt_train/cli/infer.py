"""infer.py - ``toy-gpt infer``: read the artifacts, show what comes next, continue a text."""

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import add_run, add_sampling, load_run, sampling_of
from toy_gpt_train.cli.config import add_config
from toy_gpt_train.cli.trace import Traced, add_trace, traced
from toy_gpt_train.cli.trace import as_json as trace_json
from toy_gpt_train.cli.trace import as_text as trace_text
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.explain import (
    Choice,
    Explanation,
    as_json,
    as_text,
    candidates_json,
    choices_json,
    choices_text,
    explain,
)
from toy_gpt_train.inference.generate import Step, begun, prompt_text, write_all
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.math_training import top_k
from toy_gpt_train.models.architecture import network_options
from toy_gpt_train.models.base import Option
from toy_gpt_train.noise import untrained
from toy_gpt_train.project import load_manifest
from toy_gpt_train.run import Run
from toy_gpt_train.show import bars, say, say_pieces, visible
from toy_gpt_train.tokenizers import TOKENIZERS

HELP: Final = "read the artifacts, show what comes next, continue a text"
LESSON: Final = """A model gives a probability to every token that may come next. The text is drawn by these
probabilities: the same seed draws the same text. A higher temperature takes more risks; --greedy always takes the most
likely token, and soon repeats itself. A text may hold characters that move the cursor or color the terminal: they are
shown as escapes such as \\x1b, but written to --output as they are.

examples:
  toy-gpt infer
  toy-gpt infer --base-dir my_run --prompt "the cat" --num 50 --seed 1
  toy-gpt infer --base-dir my_run --num 50 --temperature 1 --top-k 20 --repetition-penalty 1.2 --show-steps
  toy-gpt infer --base-dir my_gpt --prompt "The " --explain
  toy-gpt infer --base-dir my_run --prompt "the cat" --trace
  toy-gpt infer --base-dir my_run --num 500 --output story.txt
  toy-gpt infer --untrained --model gpt --tokenizer char --corpus my.txt --temperature 1"""
_BETWEEN_SAMPLES: Final = "\n---------------\n"
_MOST_SAMPLES: Final = 1000
_SHAPE: Final = ("embedding_dim", "hidden_dim", "heads", "layers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt infer``."""
    add_run(parser)
    start = parser.add_mutually_exclusive_group()
    meaning = "tokens to start from (default: the first of the corpus)"
    start.add_argument("--start-tokens", nargs="+", metavar="TOKEN", help=meaning)
    start.add_argument("--prompt", metavar="TEXT", help="text to start from; the model sees its last tokens")
    add_sampling(parser)
    meaning = "write M texts, with the seeds S, S + 1, ... (default: %(default)s)"
    parser.add_argument("--num-samples", type=int, default=1, metavar="M", help=meaning)
    meaning = "show the most likely tokens at each step, and how likely the chosen one was"
    parser.add_argument("--show-steps", action="store_true", help=meaning)
    meaning = "show how the next token comes about: logits step by step and attention of a network, votes of contexts"
    parser.add_argument("--explain", action="store_true", help=meaning)
    add_trace(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    shown.add_argument("--raw", action="store_true", help="print the generated text with its control characters")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the generated text to a file, as it is")
    add_config(parser, presets=False)
    _add_untrained(parser)
    parser.set_defaults(handler=_infer)


def _add_untrained(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("an untrained model", "what it writes is noise; no run is read or written")
    group.add_argument("--untrained", action="store_true", help="use a model that has learned nothing")
    group.add_argument("--model", metavar="MODEL", help="which one, as in toy-gpt train")
    group.add_argument(
        "--corpus",
        type=Path,
        metavar="PATH",
        help="the text that its vocabulary is made from (with --trace: the training text)",
    )
    group.add_argument("--tokenizer", metavar="KIND", help=f"{', '.join(TOKENIZERS)}, or a folder (default: word)")
    group.add_argument("--bpe-vocab", type=int, metavar="V", help="tokens at which byte-level BPE stops merging")
    group.add_argument("--context", type=int, metavar="N", help="how many tokens the model looks back")
    for name, flag, option in _shape_options():
        metavar, choices = (None, option.choices) if option.choices else (option.metavar, None)
        group.add_argument(flag, dest=name, type=option.type, metavar=metavar, choices=choices, help=option.help)


def _shape_options() -> list[tuple[str, str, Option]]:
    """Return the options of a network that matter to an untrained one too: name, flag, and what it is."""
    options = network_options(*_SHAPE)
    return [(name, f"--{options[name].flag or name.replace('_', '-')}", options[name]) for name in ("size", *_SHAPE)]


def _load(args: argparse.Namespace) -> Run:
    flags = {name: f"--{name.replace('_', '-')}" for name in ("model", "corpus", "tokenizer", "bpe_vocab", "context")}
    flags |= {name: flag for name, flag, _ in _shape_options()}
    given = {name: value for name in flags if (value := getattr(args, name)) is not None}
    if args.untrained:
        return untrained(**{"model": load_manifest().model, **given}, seed=args.seed)
    if args.trace is not None:
        given.pop("corpus", None)
    if given:
        raise InputError(f"{flags[next(iter(given))]} is for a model that is --untrained")
    return load_run(args)


@dataclass
class _Sample:
    """A text as it is written."""

    sampling: Sampling
    parts: list[str]  # what it starts from, and what follows
    ids: list[int] = field(default_factory=list)  # the chosen tokens
    choices: list[Choice] = field(default_factory=list)
    stopped: bool = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)

    def pieces(self, steps: Iterator[Step], k: int) -> Iterator[str]:
        """Yield the text piece by piece, and keep what comes; k candidates of each step, for none 0."""
        yield from self.parts
        for step in steps:
            self.ids.append(step.token_id)
            if k:
                self.choices.append(Choice(step.token_id, step.probs[step.token_id], top_k(step.probs, k)))
            self.parts.append(step.text)
            self.stopped = step.stopped
            yield step.text


def _infer(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    if not 1 <= args.num_samples <= _MOST_SAMPLES:
        raise InputError(f"--num-samples must be from 1 to {_MOST_SAMPLES}, got {args.num_samples}")
    if args.num_samples > 1 and args.temperature == 0:
        raise InputError("all greedy samples are the same: set --temperature, for example to 1")
    loaded = _load(args)
    ids, start = _start(args, loaded)
    samples = [_Sample(replace(sampling, seed=args.seed + i), [start]) for i in range(args.num_samples)]
    samplings = [one.sampling for one in samples]
    cache = loaded.model.new_cache()  # WHY one: a large model reads the prompt once
    explained = explain(loaded.model, ids, loaded.tokenizer.tokens, args.topk, cache) if args.explain else None
    written = write_all(loaded.model, loaded.tokenizer, ids, args.num, samplings, start, cache)
    probs, written[0] = begun(written[0], loaded.model, ids, cache)
    most_likely = top_k(probs, args.topk)
    where = None if args.trace is None else _trace(args, loaded, ids, most_likely)
    texts = [one.pieces(steps, args.show_steps and args.topk) for one, steps in zip(samples, written, strict=True)]
    head = _head(loaded, ids, most_likely)
    together = loaded.model.writes_together and len(samples) > 1
    watched = sys.stdout.isatty() and not args.json and not together
    with nullcontext() if args.output is None else whole_file(args.output) as file:
        if watched:
            _show(head, samples, texts, raw=args.raw)
        # Write what nobody has watched.
        deque(zip_longest(*texts) if together else chain.from_iterable(texts), maxlen=0)
        if file is not None:
            file.write(_BETWEEN_SAMPLES.join(one.text for one in samples).encode("utf-8", "replace"))
    if args.json:
        answer = _answer(loaded, ids, most_likely, samples, explained)
        say(json.dumps(answer if where is None else answer | {"trace": trace_json(where, args.topk)}))
        return 0
    if not watched:
        _show(head, samples, [[one.text] for one in samples], raw=args.raw)
    _show_end(args, samples, loaded.tokenizer.tokens, explained)
    if where is not None:
        say(f"\n{trace_text(where, args.topk)}")
    return 0


def _trace(args: argparse.Namespace, loaded: Run, ids: list[int], most_likely: Sequence[tuple[int, float]]) -> Traced:
    """Trace the token that was asked for, or the most likely one."""
    if args.untrained:
        raise InputError("an untrained model has learned no text that could be traced")
    token_id = loaded.tokenizer.token_ids([args.trace])[0] if args.trace else most_likely[0][0]
    return traced(loaded, args.base_dir, args.corpus, ids, token_id)


def _start(args: argparse.Namespace, loaded: Run) -> tuple[list[int], str]:
    """Return the ids to start from, and their text."""
    if args.start_tokens is not None:
        tokens = [token.lower() if args.lowercase else token for token in args.start_tokens]
        ids = loaded.tokenizer.token_ids(tokens)
        return ids, loaded.tokenizer.decode(ids)
    if args.prompt is None:
        return loaded.start_ids(), loaded.start_text
    prompt = args.prompt.lower() if args.lowercase else args.prompt
    return loaded.start_ids(prompt), prompt_text(prompt, loaded.tokenizer)


def _head(loaded: Run, ids: Sequence[int], most_likely: Sequence[tuple[int, float]]) -> str:
    """Return what is shown above the text: the model, what it looks at, and what it expects."""
    model, tokenizer = loaded.model, loaded.tokenizer
    context = model.context(ids)
    trained = ", untrained" if loaded.is_untrained else ""
    next_bars = "\n           ".join(bars([(tokenizer.tokens[i], p) for i, p in most_likely]))
    return (
        f"model      {loaded.name}{trained}, vocabulary {model.vocab_size}\n"
        f"context    {visible(tokenizer.decode(context)) if context else '(none)'}\n"
        f"next       {next_bars}"
    )


def _show(head: str, samples: Sequence[_Sample], texts: Iterable[Iterable[str]], *, raw: bool) -> None:
    say(head)
    for one, pieces in zip(samples, texts, strict=True):
        label = f"seed {one.sampling.seed}" if len(samples) > 1 else "generated"
        say_pieces(chain([f"{label:9}  "], pieces), raw=raw)


def _show_end(
    args: argparse.Namespace, samples: Sequence[_Sample], tokens: Sequence[str], explained: Explanation | None
) -> None:
    if args.output is not None:
        say(f"written    to {args.output}")
    if args.show_steps:
        for one in samples:
            say(f"\n{choices_text(one.choices, tokens)}")
    if explained is not None:
        say(f"\n{as_text(explained)}")


def _answer(
    loaded: Run,
    ids: Sequence[int],
    most_likely: Sequence[tuple[int, float]],
    samples: Sequence[_Sample],
    explained: Explanation | None,
) -> dict[str, Any]:
    """Return what --json prints; ``generated`` is that of the first sample."""
    tokens = loaded.tokenizer.tokens
    start = [tokens[i] for i in ids]
    answer = {
        "start_tokens": start,
        "top_k": candidates_json(most_likely, tokens),
        "generated": start + [tokens[i] for i in samples[0].ids],
        "samples": [
            {
                "seed": one.sampling.seed,
                "generated": start + [tokens[i] for i in one.ids],
                "text": one.text,
                "finish_reason": "stop" if one.stopped else "length",
                **({"steps": choices_json(one.choices, tokens)} if one.choices else {}),
            }
            for one in samples
        ],
    }
    return answer if explained is None else answer | {"explanation": as_json(explained)}
