"""What the home page needs of a trained network: its next words, and its weights small enough to come with the page.

A weight takes one character there: the nearest of 91 evenly spaced values from -m to m, where m is the largest
absolute value in its row of the matrix. ``tests/browser/test_home.py`` checks what the page computes from them.
"""

import json
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


def bars() -> str:
    """Return the list of the most likely next words after START, for a page that is read before its scripts run."""
    run = _run()
    probs = run.model.next_probs(run.tokenizer.token_ids(START.split()))
    weights = [p ** (1 / TEMPERATURE) for p in probs]
    total = sum(weights)
    entries = [(run.tokenizer.tokens[i], weight / total) for i, weight in top_k(weights, SHOWN)]
    return live.bars(entries, ' data-live="bars" aria-label="The most likely next words"')


def model_script() -> str:
    """Return a script that gives the page the network: what its metadata say, its tokens, its weights as levels."""
    run = _run()
    weights = []
    for name, tensor in run.model.network.named_parameters():
        width = tensor.shape[-1]
        rows = [tensor.data[i : i + width] for i in range(0, len(tensor.data), width)]
        steps = [float(f"{max(map(abs, row)) / MOST:.4g}") for row in rows]
        levels = [LEVELS[MOST + round(x / step)] for row, step in zip(rows, steps, strict=True) for x in row]
        weights.append({"name": name, "shape": list(tensor.shape), "steps": steps, "levels": "".join(levels)})
    meta = {key: run.meta[key] for key in ("model_kind", "vocab_size", "context_size", "architecture")}
    network = {"meta": meta, "tokens": list(run.tokenizer.tokens), "end": END, "weights": weights}
    return f"globalThis.toyGptNetwork = {json.dumps(network, separators=(',', ':'))};\n"
