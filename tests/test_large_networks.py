"""test_large_networks.py - A network too large to train here: it stays in its file, and predicts from packed matrices.

Small ones stand for it, with the limit lowered. What is packed is rounded to about 26 bits.
"""

import json
import math
import os
import tracemalloc
from array import array
from collections.abc import Callable
from math import inf, nan, prod
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toy_gpt_train.artifacts.lazy_numbers import LazyNumbers
from toy_gpt_train.artifacts.safetensors import open_safetensors, read_safetensors, write_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.float_bits import magnitude
from toy_gpt_train.models import network
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.gpt import GPTModel
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.nn.kernels import plain_matmul, transpose
from toy_gpt_train.nn.kv_cache import KVCache
from toy_gpt_train.nn.packed import PackedMatrix
from toy_gpt_train.run import Run, load, train

TENSORS = "02_model_weights.safetensors"
TEXT = "the cat sat on the mat. the dog sat on the cat. " * 9
TOLERANCE = 1e-6
floats_32 = st.floats(width=32, allow_nan=False, allow_infinity=False)

# --- the size of numbers, from their bytes --------------------------------------------------------------------------


@given(st.lists(floats_32, min_size=1))
@example([2.0**127])
@example([1.0, -8.0])
@example([0.0])
def test_magnitude_is_above_every_number_and_near_the_largest(numbers: list[float]) -> None:
    found, largest = magnitude(array("f", numbers)), max(map(abs, numbers))
    if largest >= 2.0**127:
        assert found == inf
    else:
        assert largest < found <= max(4 * largest, 2.0**-125)


@pytest.mark.parametrize("number", [inf, -inf, nan, -nan])
def test_magnitude_of_what_is_not_finite(number: float) -> None:
    for at in range(3):
        numbers = array("f", [1.0, 2.0, 3.0])
        numbers[at] = number
        assert magnitude(numbers) == inf


# --- the packed matrix ----------------------------------------------------------------------------------------------


@given(
    num_out=st.integers(1, 5),
    num_in=st.integers(1, 40),
    rows=st.integers(1, 3),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_a_packed_product_is_the_plain_one(num_out: int, num_in: int, rows: int, scale: float, seed: int) -> None:
    random = Random(seed)
    weight = array("f", [random.gauss(0, scale) for _ in range(num_out * num_in)])
    x = [random.gauss(0, 1 / scale) for _ in range(rows * num_in)]
    plain = plain_matmul(x, transpose(weight, num_out, num_in), rows, num_in, num_out)
    bound = 1e-7 * num_in * max(map(abs, weight)) * max(map(abs, x))
    assert PackedMatrix(weight, num_out, num_in).times(x) == pytest.approx(plain, rel=0, abs=bound)


def test_the_largest_sum_fits_into_its_field() -> None:
    for num_in in (1, 767, 768, 4096):
        for sign in (1, -1):
            weight = array("f", [sign * 3.9999998] * num_in + [-sign * 3.9999998] * num_in)
            expected = sign * 3.9999998 * 7.9999999 * num_in
            found = PackedMatrix(weight, 2, num_in).times([7.9999999] * num_in)
            assert found == pytest.approx([expected, -expected], rel=1e-6)


def test_a_row_does_not_depend_on_the_others() -> None:
    random = Random(3)
    matrix = PackedMatrix(array("f", [random.gauss(0, 1) for _ in range(24)]), 4, 6)
    rows = [[random.gauss(0, 10.0**i) for _ in range(6)] for i in range(-3, 4)]
    together = matrix.times([value for row in rows for value in row])
    assert together == [value for row in rows for value in matrix.times(row)]


def test_zeros_are_packed() -> None:
    assert PackedMatrix(array("f", bytes(4 * 6)), 2, 3).times([1.0, -2.0, 3.0]) == [0.0, 0.0]
    assert PackedMatrix(array("d", [1.0] * 6), 2, 3).times([0.0, 0.0, 0.0]) == [0.0, 0.0]


# --- numbers that stay in their file --------------------------------------------------------------------------------


def test_numbers_in_a_file_are_those_that_are_read(tmp_path: Path) -> None:
    tensors = {"a": ((2, 3), array("f", range(6))), "b": ((), array("d", [7.5])), "none": ((0,), array("f"))}
    write_safetensors(tmp_path / "file", tensors, {"k": "v"})
    lazy, metadata = open_safetensors(tmp_path / "file")
    read, same = read_safetensors(tmp_path / "file")
    assert metadata == same == {"k": "v"}
    assert {name: (shape, numbers[:]) for name, (shape, numbers) in lazy.items()} == read
    numbers = lazy["a"][1]
    assert (numbers[1:3], numbers[-2:], numbers[4:2], numbers[::2]) == tuple(
        array("f", part) for part in ([1, 2], [4, 5], [], [0, 2, 4])
    )
    assert (numbers[-1], list(numbers), len(numbers)) == (5.0, [0, 1, 2, 3, 4, 5], 6)
    with pytest.raises(IndexError):
        numbers[6]


@pytest.mark.parametrize(
    "change", [lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: os.utime(path, (1, 1)), Path.unlink]
)
def test_a_file_that_changes_before_its_numbers_are_read(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    path = tmp_path / "file"
    write_safetensors(path, {"a": ((2,), array("f", [1, 2]))})
    numbers = open_safetensors(path)[0]["a"][1]
    change(path)
    with pytest.raises((InputError, FileNotFoundError), match="file"):
        numbers[:]


def test_copying_a_file_needs_the_memory_of_one_tensor(tmp_path: Path) -> None:
    many = {str(number): ((1000, 125), array("d", bytes(1_000_000))) for number in range(8)}
    write_safetensors(tmp_path / "file", many)
    del many
    tracemalloc.start()
    try:
        lazy, _ = open_safetensors(tmp_path / "file")
        write_safetensors(tmp_path / "copy", lazy)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_500_000
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()


# --- a network ------------------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[type[NetworkModel], dict[str, Any]]] = {
    "gpt": (GPTModel, {}),
    "gpt, tied": (GPTModel, {"tied": True}),
    "llama": (LlamaModel, {"kv_heads": 2}),
}


def pair(kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[NetworkModel, NetworkModel]:
    """A model, and one with the same weights that counts as large."""
    model_class, more = KINDS[kind]
    shape = Architecture(16, hidden_dim=24, heads=4, layers=3, **more)
    small, large = model_class(11, 40, shape, seed=1), model_class(11, 40, shape, seed=None)
    small._round_weights()
    tensors = {name: (p.shape, array("f", p.data)) for name, p in small.network.named_parameters()}
    monkeypatch.setattr(network, "LARGEST_UNPACKED", 100)
    large.load_tensors(tensors)
    return small, large


def random_ids(length: int, seed: int = 0) -> list[int]:
    return Random(seed).choices(range(11), k=length)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_logits_are_the_exact_ones(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = pair(kind, monkeypatch)
    for length in (1, 2, 31, 33, 40, 50):
        ids = random_ids(length, length)
        assert large.logits(ids) == pytest.approx(small.logits(ids), rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, large = pair(kind, monkeypatch)
    ids = random_ids(45)
    cache = large.new_cache()
    for length in (1, 2, 3, 36, 37, 20, 21, 45):
        text = ids[:length] if length != 21 else [*ids[:20], (ids[20] + 1) % 11]
        assert large.logits(text, cache) == large.logits(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lens_of_a_large_network(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = pair(kind, monkeypatch)
    ids = random_ids(35)
    cache = large.new_cache()
    large.logits(ids[:34], cache)
    steps = large.logit_lens(ids, cache)
    assert steps == large.logit_lens(ids)
    assert steps[-1].logits == large.logits(ids)
    for found, expected in zip(steps, small.logit_lens(ids), strict=True):
        assert found.place == expected.place
        assert found.logits == pytest.approx(expected.logits, rel=0, abs=TOLERANCE)
        assert [len(head) for head in found.attention] == [len(head) for head in expected.attention]
        for head, same in zip(found.attention, expected.attention, strict=True):
            assert head == pytest.approx(same, rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 1, 17, 90])
def test_scores_of_a_large_network(kind: str, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = pair(kind, monkeypatch)
    ids = random_ids(100)
    ids[60] = 11  # an unknown token
    found = list(large.score(ids, start))
    monkeypatch.undo()
    expected = list(small.score(ids, start))
    assert len(found) == len(expected) == 100 - start
    for one, other in zip(found, expected, strict=True):
        assert one.probability == pytest.approx(other.probability, rel=0, abs=1e-5)
        assert one.most_likely == other.most_likely


def test_a_large_network_reads_few_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _, large = pair("gpt", monkeypatch)
    sizes: list[int] = []
    times = PackedMatrix.times

    def counted(matrix: PackedMatrix, x: Any) -> list[float]:
        sizes.append(len(x) // matrix.num_in)
        return times(matrix, x)

    monkeypatch.setattr(PackedMatrix, "times", counted)
    large.logits(random_ids(40))
    assert max(sizes) == 32
    assert sizes[-1] == 1  # one row of logits
    sizes.clear()
    list(large.score(random_ids(40)))
    assert max(sizes) == 32


# --- a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Path]:
    """A run in one file, and its folder; from now on it is large."""
    monkeypatch.setattr(network, "LARGEST_IN_TABLES", 1)
    shape = {"embedding_dim": 8, "heads": 2, "layers": 2, "context": 8}
    run = train("gpt", text=TEXT, tokenizer="char", steps=20, tied=True, **shape)
    run.save(tmp_path / "run")
    monkeypatch.setattr(network, "LARGEST_UNPACKED", 100)
    return run, tmp_path / "run"


def test_a_large_run_stays_in_its_file(saved: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = saved
    monkeypatch.setattr(Random, "gauss", None)  # no weight is drawn
    opened = load(folder)
    model: Any = opened.model
    matrices = [p for p in model.network.parameters() if len(p.shape) == 2]
    assert len(matrices) == 14
    assert all(isinstance(p.data, LazyNumbers) and len(p.data) == prod(p.shape) for p in matrices)
    assert model.num_parameters() == run.model.num_parameters()
    assert opened.generate("the c", 20, temperature=0) == run.generate("the c", 20, temperature=0)
    assert opened.model.logits([3, 1]) == pytest.approx(run.model.logits([3, 1]), rel=0, abs=TOLERANCE)
    assert opened.score(text=TEXT[:60]).loss == pytest.approx(run.score(text=TEXT[:60]).loss, abs=1e-5)


def test_a_large_run_is_saved_again_with_the_same_weights(saved: tuple[Run, Path], tmp_path: Path) -> None:
    _, folder = saved
    opened = load(folder)
    opened.next("the")  # packed
    opened.save(tmp_path / "copy")
    for name in (TENSORS, "01_vocabulary.csv"):
        assert (tmp_path / "copy/artifacts" / name).read_bytes() == (folder / "artifacts" / name).read_bytes()


@pytest.mark.parametrize(
    ("number", "allowed"), [(1e6, True), (-1e6, True), (1.1e6, False), (nan, False), (-inf, False)]
)
def test_each_weight_is_checked(saved: tuple[Run, Path], number: float, allowed: bool) -> None:
    _, folder = saved
    path = folder / "artifacts" / TENSORS
    content = path.read_bytes()
    path.write_bytes(content[:-4] + array("f", [number]).tobytes())
    if allowed:
        assert math.isfinite(load(folder).model.logits([0])[0])
    else:
        with pytest.raises(InputError, match=rf"{TENSORS}: .* not finite, or beyond 1e\+06"):
            load(folder)


def test_sizes_that_the_file_does_not_hold_are_refused(saved: tuple[Run, Path]) -> None:
    _, folder = saved
    path = folder / "artifacts" / "00_meta.json"
    meta = json.loads(path.read_bytes())
    meta["architecture"] |= {"embedding_dim": 4096, "layers": 4000}
    path.write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(InputError, match="the files are too small to hold it"):
        load(folder)


def test_an_empty_cache_is_cut_without_harm() -> None:
    cache = KVCache()
    cache.cut(0)
    assert len(cache) == 0
