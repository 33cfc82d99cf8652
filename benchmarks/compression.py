"""compression.py - How small does each model make a text that it has not seen, beside gzip, bz2 and lzma?

    uv run python benchmarks/compression.py

The text is the held-out tenth of the stories. Each committed model that has learned the other nine tenths compresses
it, and must give it back. It writes outputs/bench/compression.csv, and prints its lines; a further run writes the same
bytes where the libraries of gzip, bz2 and lzma have the same versions.

``bits_per_char`` follows from ``bytes``. ``loss`` is what toy-gpt evaluate says of the same text, in bits per
character, and ``above`` how many bytes the file has beyond it. ``knows`` is how many bytes a reader must have besides
the file: the model's own files, made as small as lzma can. The three programs know nothing. After "the nine tenths",
they are given them as the beginning of the text, only what is added counts, and the reader must have them,
too.
"""

import bz2
import gzip
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.char import CharTokenizer

ROOT = Path(__file__).resolve().parents[1]
STORIES = ROOT / "corpus" / "030_stories.txt"
RUNS = sorted((ROOT / "artifacts" / "ladder").glob("*/030_stories"))
HELD_OUT = 0.1  # as in SE_MANIFEST.toml
COLUMNS = ("method", "bytes", "bits_per_char", "loss", "above", "knows")
PROGRAMS = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def lines() -> Iterator[Sequence[object]]:
    """Yield the lines of the file, its header first."""
    yield COLUMNS
    text = STORIES.read_text(encoding="utf-8")
    at = CharTokenizer.cut(text, 1 - HELD_OUT)
    learned, new = text[:at].encode(), text[at:].encode()
    yield line("as it is", len(new), len(text) - at)
    for name, shrink in PROGRAMS.items():
        yield line(name, len(shrink(new)), len(text) - at)
    for name, shrink in PROGRAMS.items():
        added = len(shrink(learned + new)) - len(shrink(learned))
        yield line(f"{name} after the nine tenths", added, len(text) - at, knows=smallest(learned))
    for folder in RUNS:
        yield from compressed(folder, text[at:])


def compressed(folder: Path, text: str) -> Iterator[Sequence[object]]:
    """Yield the lines of a run: frozen and, where it can learn while it reads, online."""
    run = tg.load(folder)
    knows = smallest(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    for online in (False, True):
        try:
            data = run.compress(text, online=online)
        except InputError:  # it cannot learn while it reads
            return
        assert run.decompress(data) == text
        bits = None if online else run.score(text=text).bits_per_token * len(text)
        yield line(f"{run.name}{' online' if online else ''}", len(data), len(text), bits, knows)


def smallest(data: bytes) -> int:
    """Return how many bytes lzma makes of some."""
    return len(PROGRAMS["lzma"](data))


def line(name: str, size: int, length: int, bits: float | None = None, knows: int = 0) -> Sequence[object]:
    """Return a line; ``bits`` is the loss of the whole text."""
    loss, above = ("", "") if bits is None else (f"{bits / length:.4f}", f"{size - bits / 8:.1f}")
    return name, size, f"{8 * size / length:.4f}", loss, above, knows


if __name__ == "__main__":
    write_csv(RESULTS / "compression.csv", lines())
