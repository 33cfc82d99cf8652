"""infer.py - ``toy-gpt infer``: read the artifacts, show what comes next, continue a text."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import add_run, add_sampling, load_run, sampling_of
from toy_gpt_train.disk import whole_file
from toy_gpt_train.inference.explain import as_json, as_text, explain
from toy_gpt_train.inference.generate import continuation, continued
from toy_gpt_train.math_training import top_k
from toy_gpt_train.show import bars, say, visible

HELP: Final = "read the artifacts, show what comes next, continue a text"
LESSON: Final = """A model gives a probability to every token that may come next. Greedy (temperature 0) always takes
the most likely one, and soon repeats itself; a higher temperature takes more risks. A text may hold characters that
move the cursor or color the terminal: they are shown as escapes such as \\x1b, but written to --output as they are.

examples:
  toy-gpt infer
  toy-gpt infer --base-dir my_run --prompt "the cat" --num 50 --temperature 0.8 --seed 1
  toy-gpt infer --base-dir my_gpt --prompt "The " --explain
  toy-gpt infer --base-dir my_run --num 500 --temperature 0.8 --output story.txt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt infer``."""
    add_run(parser)
    start = parser.add_mutually_exclusive_group()
    meaning = "tokens to start from (default: the first of the corpus)"
    start.add_argument("--start-tokens", nargs="+", metavar="TOKEN", help=meaning)
    start.add_argument("--prompt", metavar="TEXT", help="text to start from; the model sees its last tokens")
    add_sampling(parser)
    meaning = "show how a network arrives at its next token: logits step by step, and attention"
    parser.add_argument("--explain", action="store_true", help=meaning)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    shown.add_argument("--raw", action="store_true", help="print the generated text with its control characters")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the generated text to a file, as it is")
    parser.set_defaults(handler=_infer)


def _infer(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    loaded = load_run(args)
    model, tokenizer = loaded.model, loaded.tokenizer
    ids = loaded.start_ids(args.prompt) if args.start_tokens is None else tokenizer.token_ids(args.start_tokens)
    probs, chosen = continuation(model, ids, args.num, sampling)
    most_likely = [(tokenizer.tokens[i], i, p) for i, p in top_k(probs, args.topk)]
    explained = explain(model, ids, tokenizer.tokens, args.topk) if args.explain else None
    generated = continued(args.prompt or tokenizer.decode(ids), chosen, tokenizer)
    if args.output is not None:
        with whole_file(args.output) as file:
            file.write(generated.encode("utf-8", "replace"))
    if args.json:
        start = [tokenizer.tokens[i] for i in ids]
        answer: dict[str, Any] = {
            "start_tokens": start,
            "top_k": [{"token": token, "id": token_id, "probability": p} for token, token_id, p in most_likely],
            "generated": start + [tokenizer.tokens[i] for i in chosen],
        }
        if explained is not None:
            answer["explanation"] = as_json(explained)
        say(json.dumps(answer))
        return 0
    context = model.context(ids)
    say(f"model      {loaded.name}, vocabulary {model.vocab_size}")
    say(f"context    {visible(tokenizer.decode(context)) if context else '(none)'}")
    say("next       " + "\n           ".join(bars([(token, p) for token, _, p in most_likely])))
    say(f"generated  {generated}", raw=args.raw)
    if args.output is not None:
        say(f"written    to {args.output}")
    if explained is not None:
        say(f"\n{as_text(explained)}")
    return 0
