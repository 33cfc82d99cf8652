"""infer.py - ``toy-gpt infer``: read the artifacts, show what comes next, continue a text."""

import argparse
import json
from typing import Any, Final

from toy_gpt_train import run
from toy_gpt_train.cli.arguments import add_base_dir, add_sampling, sampling_of
from toy_gpt_train.inference.explain import as_json, as_text, explain
from toy_gpt_train.inference.generate import continuation, continued
from toy_gpt_train.math_training import top_k
from toy_gpt_train.show import bars, visible

HELP: Final = "read the artifacts, show what comes next, continue a text"
LESSON: Final = """A model gives a probability to every token that may come next. Greedy (temperature 0) always takes
the most likely one, and soon repeats itself; a higher temperature takes more risks.

examples:
  toy-gpt infer
  toy-gpt infer --base-dir my_run --prompt "the cat" --num 50 --temperature 0.8 --seed 1
  toy-gpt infer --base-dir my_gpt --prompt "The " --explain"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt infer``."""
    add_base_dir(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--start-tokens", nargs="+", metavar="TOKEN", help="tokens to start from (default: the first of the corpus)"
    )
    start.add_argument("--prompt", metavar="TEXT", help="text to start from; the model sees its last tokens")
    add_sampling(parser)
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show how a network arrives at its next token: logits step by step, and attention",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(handler=_infer)


def _infer(args: argparse.Namespace) -> int:
    sampling = sampling_of(args)
    loaded = run.load(args.base_dir)
    model, tokenizer = loaded.model, loaded.tokenizer
    given = args.start_tokens
    ids = loaded.start_ids(args.prompt) if given is None else tokenizer.token_ids(given)
    probs, chosen = continuation(model, ids, args.num, sampling)
    most_likely = [(tokenizer.tokens[i], i, p) for i, p in top_k(probs, args.topk)]
    explained = explain(model, ids, tokenizer.tokens, args.topk) if args.explain else None
    if args.json:
        start = [tokenizer.tokens[i] for i in ids]
        answer: dict[str, Any] = {
            "start_tokens": start,
            "top_k": [{"token": token, "id": token_id, "probability": p} for token, token_id, p in most_likely],
            "generated": start + [tokenizer.tokens[i] for i in chosen],
        }
        if explained is not None:
            answer["explanation"] = as_json(explained)
        print(json.dumps(answer))
        return 0
    context = model.context(ids)
    print(f"model      {loaded.name}, vocabulary {model.vocab_size}")
    print(f"context    {visible(tokenizer.decode(context)) if context else '(none)'}")
    print("next       " + "\n           ".join(bars([(token, p) for token, _, p in most_likely])))
    print(f"generated  {continued(args.prompt or tokenizer.decode(ids), chosen, tokenizer)}")
    if explained is not None:
        print(f"\n{as_text(explained)}")
    return 0
