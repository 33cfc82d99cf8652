"""bench_workers.py - The same training run by one process and by two.

    uv run python benchmarks/bench_workers.py [--steps 10]

Trains the llama network of size small on the stories, cut into characters, for a few steps. Prints the tokens per
second for each number of processes, and the loss, which must be the same. Time is measured from the end of the first
step, when all processes have started.
"""

import argparse
import time

from toy_gpt_train.files import read_text
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.sizes import NetworkSettings, settings_for
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import table
from toy_gpt_train.tokenizers.char import CharTokenizer


def tokens_per_second(ids: list[int], settings: NetworkSettings, workers: int) -> tuple[float, float]:
    """Train a new network; return the tokens per second after the first step, and the last loss."""
    times: list[float] = []
    model = LlamaModel.build(max(ids) + 1, settings, seed=0)
    *_, last = model.fit(
        Text(ids, len(ids)), settings, workers=workers, on_progress=lambda *_: times.append(time.perf_counter())
    )
    tokens = (len(times) - 1) * settings.batch_size * settings.context
    return tokens / (times[-1] - times[0]), last["avg_loss"]


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="how many each takes (default: %(default)s)")
    steps = max(parser.parse_args().steps, 2)
    text = read_text(RESOURCE_ROOT / "corpus" / "030_stories.txt")
    ids = CharTokenizer.from_text(text).encode(text)
    settings = settings_for("llama", "small", steps=steps, eval_every=steps)
    runs = {workers: tokens_per_second(ids, settings, workers) for workers in (1, 2)}
    rows = [
        [workers, f"{speed:.0f}", f"{speed / runs[1][0]:.2f}", repr(loss)] for workers, (speed, loss) in runs.items()
    ]
    print(table(["processes", "tokens/s", "ratio", "loss"], rows))


if __name__ == "__main__":
    main()
