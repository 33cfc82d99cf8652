"""What the home page needs of a trained network: its next words, and its weights small enough to come with the page.

A weight takes one character there: the nearest of 91 evenly spaced values from -m to m, where m is the largest
absolute value in its matrix. ``tests/browser/test_home.py`` checks what the page computes from them.
"""

import json
from array import array
from functools import cache
from typing import Final

from builder import live
from builder.paths import ROOT
from toy_gpt_train import load
from toy_gpt_train.math_training import top_k
from toy_gpt_train.run import Run
from toy_gpt_train.world.language import END

NETWORK: Final = ROOT / "artifacts" / "ladder" / "800-llama" / "world_400k"
START: Final = "Tom hides the ball"
TEMPERATURE: Final = 0.7
SHOWN: Final = 6
MOST: Final = 45  # a level is from -45 to 45
LEVELS: Final = "".join(chr(code) for code in range(ord("#"), ord("~") + 1) if chr(code) != "\\")


@cache
def _run() -> Run:
    return load(NETWORK)


@cache
def _rounded() -> dict[str, tuple[tuple[int, ...], float, list[int]]]:
    """Return the shape of each matrix, its step, and its weights in such steps."""
    rounded = {}
    for name, tensor in _run().model.network.named_parameters():
        step = max(map(abs, tensor.data)) / MOST
        rounded[name] = tensor.shape, step, [round(number / step) for number in tensor.data]
    return rounded


def bars() -> str:
    """Return the list of the most likely next words after START, for a page that is read before its scripts run."""
    run = load(NETWORK)
    # WHY rounded: the scripts will show the same words in the same order.
    tensors = {
        name: (shape, array("f", [step * level for level in levels]))
        for name, (shape, step, levels) in _rounded().items()
    }
    run.model.load_tensors(tensors)
    probs = run.model.next_probs(run.tokenizer.token_ids(START.split()))
    weights = [p ** (1 / TEMPERATURE) for p in probs]
    total = sum(weights)
    entries = [(run.tokenizer.tokens[i], weight / total) for i, weight in top_k(weights, SHOWN)]
    return live.bars(entries, ' data-live="bars" aria-label="The most likely next words"')


def model_script() -> str:
    """Return a script that gives the page the network: what its metadata say, its tokens, its weights as levels."""
    run = _run()
    weights = [
        {"name": name, "shape": list(shape), "step": step, "levels": "".join(LEVELS[MOST + level] for level in levels)}
        for name, (shape, step, levels) in _rounded().items()
    ]
    meta = {key: run.meta[key] for key in ("model_kind", "vocab_size", "context_size", "architecture")}
    network = {"meta": meta, "tokens": list(run.tokenizer.tokens), "end": END, "weights": weights}
    return f"globalThis.toyGptNetwork = {json.dumps(network, separators=(',', ':'))};\n"
