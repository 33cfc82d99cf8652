"""bench_workers.py - The same training run with one process and with two.

    uv run python benchmarks/bench_workers.py [--steps 10]

Trains the llama network of size small on the stories, split into characters, for a few steps, and prints the tokens per
second for each number of processes. Timing starts at the end of the first step, when all processes are running.
"""

import argparse
import time

from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import table
from toy_gpt_train.tokenizers.char import CharTokenizer


def tokens_per_second(ids: list[int], vocab_size: int, steps: int, workers: int) -> tuple[float, float]:
    """Train from the start; returns the tokens per second after the first step, and the last loss."""
    times: list[float] = []
    llama = find_model("llama").model_class
    settings = llama.settings("llama", None, size="small", steps=steps, eval_every=steps)
    history = list(
        llama.build(vocab_size, settings, 0).fit(
            Text(ids, len(ids)),
            settings,
            workers=workers,
            on_progress=lambda _fraction, _words: times.append(time.perf_counter()),
        )
    )
    tokens = (len(times) - 1) * settings.batch_size * settings.context
    return tokens / (times[-1] - times[0]), history[-1]["avg_loss"]


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="how many each takes (default: %(default)s)")
    steps = max(parser.parse_args().steps, 2)
    text = read_corpus(RESOURCE_ROOT / "corpus" / "030_stories.txt").text
    tokenizer = CharTokenizer.from_text(text)
    ids = tokenizer.encode(text)
    runs = {workers: tokens_per_second(ids, tokenizer.vocab_size, steps, workers) for workers in (1, 2)}
    rows = [
        [workers, f"{speed:.0f}", f"{speed / runs[1][0]:.2f}", repr(loss)] for workers, (speed, loss) in runs.items()
    ]
    print(table(["processes", "tokens/s", "ratio", "loss"], rows))


if __name__ == "__main__":
    main()
