"""bench_workers.py - The same training by one process and by two.

    uv run python benchmarks/bench_workers.py [--steps 10]

Trains the llama network of size small on the stories, cut into characters, for a few steps, and prints the tokens a
second of each number of processes. The time is taken from the end of the first step, when all processes have started.
"""

import argparse
import time

from toy_gpt_train.a_tokenizer import read_text
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.sizes import NeuralSettings, settings_for
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import table
from toy_gpt_train.training.steps import train_steps


def tokens_a_second(token_ids: list[int], settings: NeuralSettings, workers: int) -> tuple[float, float]:
    """Train from the start; returns the tokens a second after the first step, and the last loss."""
    times: list[float] = []
    model = LlamaModel(max(token_ids) + 1, settings.context, settings.architecture)
    history = train_steps(
        model,
        token_ids,
        len(token_ids),
        settings,
        workers=workers,
        on_progress=lambda _fraction, _words: times.append(time.perf_counter()),
    )
    tokens = (len(times) - 1) * settings.batch_size * settings.context
    return tokens / (times[-1] - times[0]), history[-1]["avg_loss"]


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="how many each takes (default: %(default)s)")
    steps = parser.parse_args().steps
    text = read_text(RESOURCE_ROOT / "corpus" / "030_stories.txt")
    characters = sorted(set(text))
    token_ids = [characters.index(character) for character in text]
    settings = settings_for("llama", LlamaModel.uses, "small", steps=max(steps, 2), eval_every=max(steps, 2))
    runs = {workers: tokens_a_second(token_ids, settings, workers) for workers in (1, 2)}
    rows = [
        [workers, f"{speed:.0f}", f"{speed / runs[1][0]:.2f}", repr(loss)] for workers, (speed, loss) in runs.items()
    ]
    print(table(["processes", "tokens/s", "ratio", "loss"], rows))


if __name__ == "__main__":
    main()
