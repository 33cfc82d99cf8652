"""ladder.py - Every rung on the same text, side by side.

Each run lies in artifacts/ladder/CODE-KIND/NNN_slug/ and outputs/ladder/CODE-KIND/NNN_slug/.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from toy_gpt_train.d_train import DEFAULT_BPE_VOCAB_SIZE, TrainSettings, read_and_split, train_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.registry import LEVELS, Level, level_for_kind
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.show import table

HELP: Final = "train every rung and compare: loss, floor, accuracy, rows, bytes, time"
HEADER: Final = [
    "code",
    "model",
    "corpus",
    "tokens",
    "loss",
    "floor",
    "accuracy",
    "held-out loss",
    "rows",
    "bytes",
    "seconds",
]


def declared_runs(base_dir: Path, workers: int = 1) -> Iterator[TrainSettings]:
    """Yield the runs that the manifest declares as the committed ladder.

    Args:
        base_dir: Where artifacts/ladder/ and outputs/ladder/ go.
        workers: How many processes a network is trained by.
    """
    for entry in load_manifest().ladder:
        for kind in entry.models:
            level, corpus = level_for_kind(kind), RESOURCE_ROOT / entry.corpus
            yield TrainSettings(
                level,
                corpus,
                base_dir,
                tokenizer=entry.tokenizer,
                val_fraction=entry.val_fraction,
                run_name=run_name(level, corpus),
                workers=workers,
            )


def run_name(level: Level, corpus_path: Path) -> str:
    """Return the folder of a ladder run below artifacts/ and outputs/.

    Example:
        >>> run_name(LEVELS[1], Path("corpus/001_animals.txt"))
        'ladder/200-bigram/001_animals'
    """
    return f"ladder/{level.folder}/{corpus_path.stem}"


def train_ladder(
    base_dir: Path,
    corpus_path: Path | None = None,
    tokenizer: str = "word",
    bpe_vocab_size: int = DEFAULT_BPE_VOCAB_SIZE,
    val_fraction: float = 0.0,
    models: Sequence[str] = (),
    workers: int = 1,
) -> int:
    """Train rung after rung and print a table.

    Args:
        base_dir: Where artifacts/ladder/ and outputs/ladder/ go.
        corpus_path: One text for every rung; where None, all that the manifest declares, as it declares it.
        tokenizer: How to cut that text.
        bpe_vocab_size: Where byte-level BPE stops merging.
        val_fraction: The share of it that is held out.
        models: The kinds to train; all where there are none.
        workers: How many processes a network is trained by.

    Returns:
        The exit code, 0.

    Raises:
        InputError: The corpus cannot be used.
        OSError: A file could not be read or written.
    """
    levels = [level_for_kind(kind) for kind in models] or LEVELS  # a misspelt kind is refused here
    if corpus_path is None:
        runs = list(declared_runs(base_dir, workers))
    else:
        runs = [
            TrainSettings(
                level,
                corpus_path,
                base_dir,
                tokenizer=tokenizer,
                bpe_vocab_size=bpe_vocab_size,
                val_fraction=val_fraction,
                run_name=run_name(level, corpus_path),
                workers=workers,
            )
            for level in levels
        ]
    runs = [run for run in runs if not models or run.level.kind in models]
    if not runs:
        raise InputError(f"the manifest declares no run of {', '.join(models)}; give a text with --corpus")
    for settings in runs:
        read_and_split(
            settings
        )  # WHY first: a text that is too short for one rung is refused before anything is written
    rows: list[list[object]] = []
    for settings in runs:
        progress = Progress(f"{settings.level.kind} on {settings.corpus_path.stem}")
        try:
            result = train_run(settings, progress.update)
        finally:
            progress.close()
        numbers = [f"{value:.4f}" for value in (result.train_loss, result.loss_floor, result.train_accuracy)]
        numbers.append(f"{result.held_out.loss:.4f}" if result.held_out else "")
        size = sum(path.stat().st_size for path in result.paths)
        name = [settings.level.code, settings.level.kind, settings.corpus_path.stem, settings.tokenizer]
        rows.append([*name, *numbers, result.num_rows, size, f"{result.train_seconds:.2f}"])
    print(table(HEADER, rows))
    return 0
