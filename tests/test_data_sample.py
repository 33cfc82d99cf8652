"""toy-gpt data sample and stdlib: a fair draw of lines, and files that appear only when they are whole."""

import io
import tracemalloc
from collections import Counter
from itertools import combinations, product
from math import comb, nan
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import listing_of
from toy_gpt_train.data import sample, stdlib
from toy_gpt_train.data.sample import reservoir, sample_lines, text_lines
from toy_gpt_train.data.stdlib import collect_stdlib, library_sources
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError

# The 0.999 quantiles of chi-squared: a fair draw exceeds them once in a thousand; these seeds are fixed.
CHI_SQUARED_999 = {7: 24.32, 14: 36.12}


@pytest.fixture
def text(tmp_path) -> Path:
    return tmp_path / "text.txt"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out.txt"


def chi_squared(observed: Counter, expected: dict) -> float:
    assert observed.keys() <= expected.keys()
    return sum((observed[key] - count) ** 2 / count for key, count in expected.items())


# --- the reservoir ------------------------------------------------------------------------------------------


class Scripted:
    """Answers randrange from a list, and checks that each answer could have been given."""

    def __init__(self, answers):
        self.answers = list(answers)

    def randrange(self, stop):
        answer = self.answers.pop(0)
        assert 0 <= answer < stop
        return answer


@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 2), (6, 3), (7, 5), (4, 4)])
def test_every_subset_is_equally_likely_exactly(n, k):
    # Line i is decided by one of i equally likely numbers: walk through all of these, and count.
    counts: Counter = Counter()
    for answers in product(*(range(i) for i in range(k + 1, n + 1))):
        rng = Scripted(answers)
        counts[tuple(reservoir(range(n), k, rng))] += 1
        assert rng.answers == []
    assert counts.keys() == set(combinations(range(n), k))
    assert len(counts) == comb(n, k)
    assert len(set(counts.values())) == 1


def test_every_subset_is_equally_likely_with_real_seeds():
    runs = 15_000
    counts = Counter(tuple(reservoir(range(6), 2, Random(seed))) for seed in range(runs))
    assert chi_squared(counts, dict.fromkeys(combinations(range(6), 2), runs / 15)) < CHI_SQUARED_999[14]


@given(n=st.integers(0, 60), k=st.integers(1, 20), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_a_reservoir_holds_different_items_in_order(n, k, seed):
    drawn = reservoir(iter(range(n)), k, Random(seed))
    assert len(drawn) == min(n, k)
    assert drawn == sorted(set(drawn))
    assert drawn == reservoir(range(n), k, Random(seed))


# --- lines of a file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n\nb", ["a\n", "\n", "b"]),
        (b"a\r\nb\rc\x1cd\n", ["a\r\n", "b\rc\x1cd\n"]),
        ("a\u2028b\n\u0085c\x0c".encode(), ["a\u2028b\n", "\u0085c\x0c"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n\xef\xbb\xbfa", ["\n", "\ufeffa"]),
    ],
)
def test_lines_of_a_file(text, data, lines):
    text.write_bytes(data)
    assert list(text_lines(text)) == lines


def test_bytes_that_are_not_text_are_named(text):
    text.write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\nab\xff\n")
    with pytest.raises(InputError, match="line 2: not UTF-8 at byte 11 "):
        list(text_lines(text))
    text.write_bytes(b"\xef\xbb\xbfab\xff\n")
    with pytest.raises(InputError, match="line 1: not UTF-8 at byte 5 "):
        list(text_lines(text))


def test_a_line_too_long_to_hold(text, monkeypatch):
    monkeypatch.setattr(sample, "MAX_LINE_BYTES", 1 << 20)
    text.write_bytes(b"a\n" + b"b" * ((1 << 20) - 1) + b"\n")
    assert [len(line) for line in text_lines(text)] == [2, 1 << 20]
    text.write_bytes(b"a\n" + b"b" * (1 << 20) + b"\n")
    with pytest.raises(InputError, match="line 2: longer than 1 MB"):
        list(text_lines(text))


@given(
    lines=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=5), max_size=20
    ),
    k=st.integers(1, 25),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_a_sample_is_lines_of_the_file_in_its_order(tmp_path_factory, lines, k, seed):
    folder = tmp_path_factory.mktemp("sample")
    # WHY a number before each line: so that no two are equal.
    numbered = [f"{number}:{line}" for number, line in enumerate(lines)]
    (folder / "text").write_bytes("\n".join(numbered).encode("utf-8"))
    if not lines:
        with pytest.raises(InputError, match="no line was kept"):
            sample_lines(folder / "text", folder / "out", lines=k, seed=seed)
        return
    assert sample_lines(folder / "text", folder / "out", lines=k, seed=seed) == min(k, len(lines))
    written = (folder / "out").read_bytes().decode("utf-8")
    drawn = written.removesuffix("\n").split("\n")
    assert len(drawn) == min(k, len(lines))
    assert [line for line in numbered if line in drawn] == drawn
    assert written.endswith("\n") == (numbered[-1] not in drawn)


def test_as_many_lines_as_there_are_give_the_file_byte_for_byte(text, out):
    text.write_bytes("é\r\n\n a \n😀 no line end".encode())
    for options in ({"lines": 4}, {"lines": 5}, {"fraction": 1.0}):
        assert sample_lines(text, out, **options, seed=3) == 4
        assert out.read_bytes() == text.read_bytes()


@pytest.mark.parametrize("options", [{"lines": 30}, {"fraction": 0.1}])
def test_the_seed_decides(text, out, options):
    text.write_bytes(b"".join(b"%d\n" % number for number in range(300)))
    drawn = []
    for seed in (1, 1, 2):
        sample_lines(text, out, **options, seed=seed)
        drawn.append(out.read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_fraction_keeps_each_line_by_itself(text, out):
    # Each three lines in a row are one trial: which of the 8 subsets of them was kept?
    trials, fraction = 10_000, 0.3
    text.write_bytes(b"".join(b"%d\n" % number for number in range(3 * trials)))
    sample_lines(text, out, fraction=fraction, seed=0)
    kept: dict[int, list[int]] = {trial: [] for trial in range(trials)}
    for number in map(int, out.read_bytes().split()):
        kept[number // 3].append(number % 3)
    subsets = [subset for size in range(4) for subset in combinations(range(3), size)]
    expected = {subset: trials * fraction ** len(subset) * (1 - fraction) ** (3 - len(subset)) for subset in subsets}
    assert chi_squared(Counter(map(tuple, kept.values())), expected) < CHI_SQUARED_999[7]


def test_the_memory_is_the_sample_and_not_the_file(text, out):
    text.write_bytes(b"a line of forty bytes, and so are all ..\n" * 25_000)
    tracemalloc.start()
    try:
        assert sample_lines(text, out, lines=100, seed=0) == 100
        reservoir_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        sample_lines(text, out, fraction=0.5, seed=0)
        fraction_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    buffers = 3 * io.DEFAULT_BUFFER_SIZE  # to read, to write, to flush; 393,216 bytes since Python 3.14
    assert reservoir_peak < 100_000 + buffers  # of 1,025,000
    assert fraction_peak < 100_000 + buffers


@pytest.mark.parametrize(
    "options", [{"lines": 0}, {"lines": -1}, {"fraction": 0.0}, {"fraction": 1.5}, {"fraction": nan}, {}]
)
def test_numbers_that_make_no_sense(text, out, options):
    text.write_bytes(b"a\n")
    with pytest.raises(InputError, match="must be"):
        sample_lines(text, out, **options, seed=0)
    assert listing_of(text.parent) == {"text.txt": b"a\n"}


def test_damage_at_the_end_leaves_the_old_sample(text, out):
    text.write_bytes(b"a line\n" * 50_000 + b"\xff\n")
    out.write_bytes(b"old")
    before = listing_of(text.parent)
    for options in ({"lines": 5}, {"fraction": 1.0}):
        with pytest.raises(InputError, match="line 50001: not UTF-8 at byte 350000 "):
            sample_lines(text, out, **options, seed=0)
        assert listing_of(text.parent) == before


# --- files that appear only when they are whole ---------------------------------------------------------------


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, GeneratorExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_stopped_writer_leaves_what_was_there(tmp_path, stop, old):
    out = tmp_path / "out"
    if old is not None:
        out.write_bytes(old)
    before = listing_of(tmp_path)

    def write_and_stop() -> None:
        with whole_file(out) as file:
            file.write(b"new" * 100_000)
            assert len(listing_of(tmp_path)) == len(before) + 1
            raise stop

    with pytest.raises(stop):
        write_and_stop()
    assert listing_of(tmp_path) == before
    with whole_file(out) as file:
        file.write(b"new")
    assert listing_of(tmp_path) == {"out": b"new"}


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "out", tmp_path, Path()):
        with pytest.raises(IsADirectoryError), whole_file(path):
            raise AssertionError("the work was begun")
    assert listing_of(tmp_path) == {"out": None}


# --- the interpreter's own library ----------------------------------------------------------------------------


def test_library_text_is_cut_at_a_character(tmp_path, monkeypatch):
    monkeypatch.setattr(stdlib, "library_sources", lambda: iter(["ab", "é", "cd"]))
    # 2 bytes, 2 bytes, 2 bytes: a cut inside the é leaves it out, and nothing comes after the cut.
    for size, expected in [(1, "a"), (2, "ab"), (3, "ab"), (4, "abé"), (5, "abéc"), (6, "abécd"), (7, "abécd")]:
        assert collect_stdlib(tmp_path / "out", size / 1e6) == len(expected.encode())
        assert (tmp_path / "out").read_bytes() == expected.encode()
    assert collect_stdlib(tmp_path / "out") == 6
    assert listing_of(tmp_path) == {"out": "abécd".encode()}


def test_library_sources_are_modules_by_path(tmp_path):
    for name, data in {
        "b.py": b"b",
        "a/z.py": b"z",
        "a/latin.py": b"\xff",
        "a.txt": b"text",
        "site-packages/x.py": b"x",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert list(library_sources(tmp_path)) == ["z", "b"]
    with pytest.raises(InputError, match="no Python source"):
        list(library_sources(tmp_path / "none"))


# --- the command line -----------------------------------------------------------------------------------------


def test_command_stdlib(toy_gpt, tmp_path, monkeypatch):
    library, out = tmp_path / "library", tmp_path / "python.txt"
    library.mkdir()
    (library / "module.py").write_bytes(b"x = 1\n" * 2000)
    monkeypatch.setattr(stdlib.sysconfig, "get_path", {"stdlib": str(library)}.__getitem__)
    assert toy_gpt("data", "stdlib", "--out", out, "--megabytes", "0.01") == (0, f"{out}: 10000 bytes\n", "")
    assert out.read_bytes() == (b"x = 1\n" * 2000)[:10_000]
    assert toy_gpt("data", "stdlib", "--out", out) == (0, f"{out}: 12000 bytes\n", "")
    assert toy_gpt("data", "stdlib", "--out", out, "--megabytes", "nan").refused
    assert toy_gpt("data", "stdlib", "--out", tmp_path).refused
    assert out.read_bytes() == b"x = 1\n" * 2000


def test_command_sample(toy_gpt, text, out):
    text.write_bytes(b"a\nb\nc\n")
    command = ("data", "sample", "--text", text, "--out", out)
    assert toy_gpt(*command, "--lines", 2) == (0, f"{out}: 2 lines\n", "")
    assert out.read_bytes() in (b"a\nb\n", b"a\nc\n", b"b\nc\n")
    assert toy_gpt(*command, "--fraction", "1", "--seed", "5") == (0, f"{out}: 3 lines\n", "")
    assert out.read_bytes() == b"a\nb\nc\n"
    for wrong in ((), ("--lines", 1, "--fraction", 0.5), ("--lines", 0), ("--lines", "x"), ("--fraction", 2)):
        assert toy_gpt(*command, *wrong).refused
    assert toy_gpt("data", "sample", "--text", text.parent / "none", "--out", out, "--lines", 1).refused
    assert listing_of(text.parent) == {"text.txt": b"a\nb\nc\n", "out.txt": b"a\nb\nc\n"}


# --- in random order ------------------------------------------------------------------------------------------


def test_every_order_is_equally_likely(text, out):
    text.write_bytes(b"a\nb\nc")
    runs = 1200
    orders: Counter = Counter()
    for seed in range(runs):
        assert sample_lines(text, out, lines=2, seed=seed, shuffle=True) == 2
        orders[out.read_bytes()] += 1
    expected = [f"{x}\n{y}\n".encode() for x, y in product("abc", repeat=2) if x != y]
    assert chi_squared(orders, dict.fromkeys(expected, runs / 6)) < CHI_SQUARED_999[7]


@pytest.mark.parametrize("options", [{"lines": 20}, {"fraction": 0.5}, {"lines": 1000}])
def test_a_shuffled_sample_has_the_lines_of_the_sample(text, out, options):
    text.write_bytes(b"".join(b"%d\r\n" % number for number in range(100)) + b"no line end")
    sample_lines(text, out, **options, seed=3)
    kept = out.read_bytes()
    sample_lines(text, out, **options, seed=3, shuffle=True)
    shuffled = out.read_bytes()
    assert sorted(shuffled.splitlines()) == sorted(kept.splitlines())
    assert shuffled != kept
    assert shuffled.endswith(b"\n")
    sample_lines(text, out, **options, seed=3, shuffle=True)
    assert out.read_bytes() == shuffled


def test_the_memory_of_a_shuffled_sample_is_the_sample(text, out):
    text.write_bytes(b"a line of forty bytes, and so are all ..\n" * 25_000)
    tracemalloc.start()
    try:
        sample_lines(text, out, lines=100, seed=0, shuffle=True)
        assert tracemalloc.get_traced_memory()[1] < 100_000 + 3 * io.DEFAULT_BUFFER_SIZE
    finally:
        tracemalloc.stop()


def test_command_sample_shuffled(toy_gpt, text, out):
    text.write_bytes(b"".join(b"%d\n" % number for number in range(50)))
    command = ("data", "sample", "--text", text, "--out", out, "--lines", 50, "--shuffle")
    assert toy_gpt(*command) == (0, f"{out}: 50 lines\n", "")
    assert out.read_bytes() != text.read_bytes()
    assert sorted(out.read_bytes().split()) == sorted(text.read_bytes().split())
    text.write_bytes(b"a\n\xff\n")
    before = listing_of(text.parent)
    assert toy_gpt(*command).refused
    assert listing_of(text.parent) == before
