"""attack.py - What becomes of a trained run whose files are damaged at random? It is never silently another model.

    uv run python benchmarks/attack.py [--runs 10000] [--seed 0]

One small run of every kind is trained, and a tokenizer saved. Then, again and again, one file is changed as a bad disk,
an editor or a mischievous neighbor would, and everything is read back:

    refused       one line says what is wrong
    noticed       it loads, and the changed file is named as "changed since training"
    same          it loads, and is the same: its probabilities, its tokens, its log
    silent other  it loads as something else without a word; there must be none
    crashed       anything else, such as a traceback; there must be none

Each case depends on the seed and its number only: ``--first N --runs 1`` repeats one.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import toy_gpt_train as tg
from toy_gpt_train import io_artifacts
from toy_gpt_train.models import network
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer

TEXT = 'the cat sees the dog . the dog sees a cat . a cat runs to the dog , and \\ the | sees * a "cat" .\n' * 3
OTHER_TEXT = "a dog runs and the dog sees the dog . zebra"
OUTCOMES = ("refused", "noticed", "same", "silent other", "crashed")

_TINY = {"steps": 2, "batch_size": 2, "embedding_dim": 4}
_BLOCK = {**_TINY, "heads": 2, "layers": 2, "hidden_dim": 4, "context": 4}
_SPARSE = {"ALL_ROWS_LIMIT": 0.5, "DENSE_CELLS_LIMIT": -1}
_TABLE = {"epochs": 2, "learning_rate": 0.5}

# Every kind of file that a run can have: the model, its options, and limits that choose the layout.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "all": ("bigram", _TABLE, {}),
    "observed": ("context-2", _TABLE, {"ALL_ROWS_LIMIT": 0.5}),
    "sparse": ("context-2", _TABLE, _SPARSE),
    "unigram": ("unigram", _TABLE, {}),
    "held out": ("context-3", {**_TABLE, "val_fraction": 0.2, "tokenizer": "char"}, _SPARSE),
    "bpe": ("bigram", {**_TABLE, "tokenizer": "bpe", "bpe_vocab": 264}, _SPARSE),
    "kneser-ney": ("kneser-ney", {}, {}),
    "kneser-ney bpe": ("kneser-ney", {"tokenizer": "bpe", "bpe_vocab": 262, "context": 2}, {}),
    "mixture": ("mixture", {"tokenizer": "char"}, {}),
    "mixture of words": ("mixture", {}, {}),
    "context mixing": ("context-mixing", {"tokenizer": "char"}, {}),
    "context mixing of words": ("context-mixing", {}, {}),
    "embeddings": ("embeddings", {**_TINY, "hidden_dim": 4, "context": 2}, {}),
    "attention": ("attention", {**_TINY, "context": 4}, {}),
    "gpt": ("gpt", _BLOCK, {}),
    "llama": ("llama", {**_BLOCK, "tokenizer": "char"}, {}),
    "safetensors": ("gpt", _BLOCK, {"LARGEST_IN_TABLES": 0}),
}
TOKENIZER = "tokenizer"  # besides: a folder with a BPE tokenizer alone

NASTY = ["", "0", "-1", "1", "9", "1e-80", "1e999", "nan", "1" * 5000, "9" * 18, "a", "*", "\\", "|", '"', ",", "\n"]
NASTY += ["\r\n", "\0", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "é", "\ufeff", "zzz", "0.5", "-0"]
NASTY_JSON: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    10**8,
    10**20,
    10**400,
    1.5,
    1e-80,
    "",
    "a",
    "the",
    "x" * 999,
]
NASTY_JSON += [[], {}, [[]], {"a": 1}, float("nan"), float("inf"), "\ud800", ["the"], {"kind": "char"}, "all", "sparse"]


class Case(NamedTuple):
    """What was done and what came of it."""

    number: int
    kind: str
    what: str
    outcome: str
    said: str
    seconds: float


@contextmanager
def layout(limits: dict[str, float]) -> Iterator[None]:
    """Choose how a run is written."""
    ours = {name: limit for name, limit in limits.items() if name != "LARGEST_IN_TABLES"}
    largest = limits.get("LARGEST_IN_TABLES", network.LARGEST_IN_TABLES)
    with mock.patch.dict(vars(io_artifacts), ours), mock.patch.object(network, "LARGEST_IN_TABLES", largest):
        yield


def build(folder: Path) -> None:
    """Train a run of every kind, each in a folder of its name."""
    for kind, (model, options, limits) in KINDS.items():
        with layout(limits):
            tg.train(model, text=TEXT, **options).save(folder / kind)
    BPETokenizer(*_learned(), ["<end>", "<a>"]).save(folder / TOKENIZER)


def _learned() -> tuple[Any, Any]:
    learned = BPETokenizer.from_text(TEXT, 266)
    return learned.vocab, learned.merges


# --- what a run is ------------------------------------------------------------------------------------------


def behavior(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return all that can be seen of a run or a tokenizer, and the files that it says have changed."""
    if folder.name == TOKENIZER:
        tokenizer = load_tokenizer(folder)
        return {"tokens": tokenizer.tokens, "ids": tokenizer.encode(TEXT + OTHER_TEXT + "<end><a>")}, []
    run = tg.load(folder)
    size = run.model.context_size
    ids = run.start_ids()
    texts = [ids, ids[::-1], ids * 2, [0] * max(size, 1), [run.model.vocab_size - 1] * max(size, 1)]
    seen: dict[str, object] = {
        "probs": [run.model.next_probs(text) for text in texts if len(text) >= run.model.min_context],
        "tokens": run.tokenizer.tokens,
        "frequencies": run.frequencies,
        "meta": json.dumps({name: value for name, value in run.meta.items() if name != "sha256"}, sort_keys=True),
        "next": run.next(k=3),
        "text": run.generate(num=3, seed=1),
        "repr": repr(run),
    }
    if run.history:  # a run without its log is not another run
        seen["history"] = run.history
    with suppress(tg.InputError):  # the vocabulary of a damaged run may lack all of the words
        seen["loss"] = run.score(text=OTHER_TEXT).loss
    return seen, list(run.changed_files)


# --- damage -------------------------------------------------------------------------------------------------


def damage(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Change the bytes of a file; returns what was done."""
    name = draw.choice(list(DAMAGES))
    return name, DAMAGES[name](data, draw)


def _nasty(draw: random.Random) -> bytes:
    return draw.choice(NASTY).encode("latin-1" if draw.random() < 0.1 else "utf-8", "replace")


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randint(0, len(data))]


def _replace(data: bytes, draw: random.Random) -> bytes:
    begin = draw.randint(0, len(data))
    return data[:begin] + _nasty(draw) + data[begin + draw.choice([0, 0, 1, 1, 2, 8]) :]


def _byte(data: bytes, draw: random.Random) -> bytes:
    place = draw.randint(0, max(len(data) - 1, 0))
    return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]


def _digit(data: bytes, draw: random.Random) -> bytes:
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57] or [0]
    place = draw.choice(places)
    return data[:place] + str(draw.randint(0, 9)).encode() + data[place + 1 :]


def _lines(edit: Callable[[list[bytes], random.Random], object]) -> Callable[[bytes, random.Random], bytes]:
    def edited(data: bytes, draw: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        if lines:
            edit(lines, draw)
        return b"".join(lines)

    return edited


def _swap_lines(lines: list[bytes], draw: random.Random) -> None:
    i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def _swap_cells(lines: list[bytes], draw: random.Random) -> None:
    i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
    one, other = lines[i].rstrip(b"\n").split(b","), lines[j].rstrip(b"\n").split(b",")
    k, m = draw.randrange(len(one)), draw.randrange(len(other))
    if i == j:
        one[k], one[m % len(one)] = one[m % len(one)], one[k]
    else:
        one[k], other[m] = other[m], one[k]
        lines[j] = b",".join(other) + b"\n"
    lines[i] = b",".join(one) + b"\n"


def _set_cell(lines: list[bytes], draw: random.Random) -> None:
    i = draw.randrange(len(lines))
    cells = lines[i].rstrip(b"\n").split(b",")
    cells[draw.randrange(len(cells))] = _nasty(draw)
    lines[i] = b",".join(cells) + b"\n"


def _json(data: bytes, draw: random.Random) -> bytes:
    """Change, move or remove a value anywhere in a JSON file; other files keep their bytes."""
    try:
        content = json.loads(data)
    except ValueError:
        return data
    owners: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict | list):
            if value:
                owners.append(value)
            for inner in value.values() if isinstance(value, dict) else value:
                walk(inner)

    walk(content)
    if not owners:
        return data
    owner = draw.choice(owners)
    keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
    key, other = draw.choice(keys), draw.choice(keys)
    if (what := draw.randrange(4)) == 0:
        del owner[key]
    elif what == 1:
        owner[key], owner[other] = owner[other], owner[key]
    elif what == 2 and isinstance(owner[key], int | float):
        owner[key] += draw.choice([-1, 1, 0.5])
    else:
        owner[key] = draw.choice(NASTY_JSON)
    return json.dumps(content, indent=2).encode()


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "begin cut": lambda data, draw: data[draw.randint(0, len(data)) :],
    "replaced": _replace,
    "a byte": _byte,
    "a digit": _digit,
    "two lines swapped": _lines(_swap_lines),
    "two cells swapped": _lines(_swap_cells),
    "a cell": _lines(_set_cell),
    "a line gone": _lines(lambda lines, draw: lines.pop(draw.randrange(len(lines)))),
    "a line again": _lines(lambda lines, draw: lines.insert(draw.randrange(len(lines)), draw.choice(lines))),
    "a blank line": _lines(lambda lines, draw: lines.insert(draw.randrange(len(lines) + 1), b"\n")),
    "JSON": _json,
    "other line ends": lambda data, draw: data.replace(b"\n", b"\r\n"),
    "twice": lambda data, draw: data + data,
    "empty": lambda data, draw: b"",
}


def attack(good: Path, folder: Path, draw: random.Random) -> tuple[str, list[Path]]:
    """Damage a copy of a good run; returns what was done, and to which files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = draw.choice(files), draw.choice(files)
    data = path.read_bytes()
    choice = draw.random()
    if choice < 0.06:
        path.unlink()
        return f"{path.name}: gone", [path]
    if choice < 0.12:
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{path.name} and {other.name}: exchanged", [path, other]
    if choice < 0.18:
        donor = draw.choice(sorted(good.iterdir())) / path.relative_to(folder)
        path.write_bytes(donor.read_bytes() if donor.is_file() else b"")
        return f"{path.name}: from {donor.relative_to(good).parts[0]}", [path]
    done: list[str] = []
    for _ in range(draw.choice([1, 1, 1, 2])):
        name, data = damage(data, draw)
        done.append(name)
    path.write_bytes(data)
    return f"{path.name}: {', '.join(done)}", [path]


def outcome_of(folder: Path, expected: Any) -> tuple[str, str]:
    """Return what became of a damaged run, and what was said."""
    try:
        seen, changed = behavior(folder)
    except (tg.InputError, OSError) as error:
        line = str(error)
        return ("refused" if line and "\n" not in line and len(line) < 1000 else "crashed"), line
    except Exception as error:  # what is looked for
        return "crashed", f"{type(error).__name__}: {error}"
    if changed:
        return "noticed", ", ".join(changed)
    expected = {name: expected.get(name) for name in seen}
    return ("same" if seen == expected else "silent other"), ""


def attacks(good: Path, folder: Path, numbers: range, seed: int = 0) -> Iterator[Case]:
    """Yield what became of many damaged runs.

    Args:
        good: What build() made.
        folder: An empty folder for the damaged ones.
        numbers: Which cases.
        seed: For what is drawn at random.
    """
    kinds = [*KINDS, TOKENIZER]
    expected = {kind: behavior(good / kind) for kind in kinds}
    assert all(changed == [] for _, changed in expected.values())
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        kind = kinds[number % len(kinds)]
        damaged = folder / kind
        if not damaged.exists():
            shutil.copytree(good / kind, damaged)
        what, paths = attack(good, damaged, draw)
        begun = time.perf_counter()
        outcome, said = outcome_of(damaged, expected[kind][0])
        yield Case(number, kind, what, outcome, said, time.perf_counter() - begun)
        for path in paths:
            shutil.copy(good / path.relative_to(folder), path)


def main() -> None:
    """Print a line for each kind of run, then every case that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="how many cases (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first (default: 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same cases (default: 0)")
    args = parser.parse_args()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*KINDS, TOKENIZER)}
    slowest, wrong = 0.0, []
    with tempfile.TemporaryDirectory() as base:
        good, damaged = Path(base) / "good", Path(base) / "damaged"
        build(good)
        for case in attacks(good, damaged, range(args.first, args.first + args.runs), args.seed):
            counts[case.kind][case.outcome] += 1
            slowest = max(slowest, case.seconds)
            if case.outcome in OUTCOMES[-2:]:
                wrong.append(case)
    print(f"{args.runs} damaged runs, seed {args.seed}, from number {args.first}\n")
    print(f"{'kind of run':18}", *(f"{outcome:>13}" for outcome in OUTCOMES))
    for kind, found in [*counts.items(), ("total", sum(counts.values(), Counter()))]:
        print(f"{kind:18}", *(f"{found[outcome]:13}" for outcome in OUTCOMES))
    print(f"\nslowest: {slowest:.2f} s")
    for case in wrong:
        print(f"{case.number} {case.kind}, {case.what}: {case.outcome}: {case.said[:200]!r}")


if __name__ == "__main__":
    main()
