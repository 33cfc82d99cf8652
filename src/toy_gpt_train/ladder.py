"""ladder.py - Every rung on the same text, side by side.

Each run lies in artifacts/ladder/CODE-KIND/NNN_slug/ and outputs/ladder/CODE-KIND/NNN_slug/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from toy_gpt_train.d_train import TrainSettings, train_run
from toy_gpt_train.levels import LEVELS, Level, level_for_kind
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.show import table

HELP: Final = "train every rung and compare: loss, floor, accuracy, rows, bytes, time"
HEADER: Final = ["code", "model", "corpus", "loss", "floor", "accuracy", "rows", "bytes", "seconds"]


def declared_runs() -> Iterator[tuple[Level, Path]]:
    """Yield the (rung, corpus) runs that the manifest declares as the committed ladder."""
    for entry in load_manifest().ladder:
        for kind in entry.models:
            yield level_for_kind(kind), RESOURCE_ROOT / entry.corpus


def run_name(level: Level, corpus_path: Path) -> str:
    """Return the folder of a ladder run below artifacts/ and outputs/.

    Example:
        >>> run_name(LEVELS[1], Path("corpus/001_animals.txt"))
        'ladder/200-bigram/001_animals'
    """
    return f"ladder/{level.folder}/{corpus_path.stem}"


def train_ladder(base_dir: Path, corpus_path: Path | None = None) -> int:
    """Train rung after rung and print a table.

    Args:
        base_dir: Where artifacts/ladder/ and outputs/ladder/ go.
        corpus_path: One text for every rung; what the manifest declares where None.

    Returns:
        The exit code, 0.

    Raises:
        InputError: The corpus cannot be used.
        OSError: A file could not be read or written.
    """
    runs = list(declared_runs()) if corpus_path is None else [(level, corpus_path) for level in LEVELS]
    rows: list[list[object]] = []
    for level, corpus in runs:
        progress = Progress(f"{level.kind} on {corpus.stem}")
        try:
            result = train_run(
                TrainSettings(level, corpus, base_dir, run_name=run_name(level, corpus)), progress.update
            )
        finally:
            progress.close()
        size = sum(path.stat().st_size for path in result.paths)
        numbers = [f"{value:.4f}" for value in (result.train_loss, result.loss_floor, result.train_accuracy)]
        rows.append([level.code, level.kind, corpus.stem, *numbers, result.num_rows, size])
        rows[-1].append(f"{result.train_seconds:.2f}")
    print(table(HEADER, rows))
    return 0
