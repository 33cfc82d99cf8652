"""Training around the network: clipping, AdamW, schedule, batches, checkpoints."""

import pickletools
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from compare import check

import adapters

DOUBLE = 1e-12
TENSORS = {
    "blocks.0.weight": [[0.1, -0.2, 1 / 3], [1e-300, 5e-324, -0.0]],
    "blocks.0.bias": [2.0**53 - 1, -1.7976931348623157e308],
    "output": [[[1.0]], [[-2.5]]],
    'a name, "quoted" and é': [0.0],
}


def test_clipping():
    check("clipping", adapters.run_clipping, DOUBLE)


def test_adamw():
    check("adamw", adapters.run_adamw, DOUBLE)


def test_schedule():
    check("schedule", adapters.run_schedule, DOUBLE)


# --- batches are random: these checks hold for any source of randomness -------------------------------------


def test_batches_are_slices_of_the_text():
    text = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    windows = adapters.run_batches(text, context_size=4, batch_size=50, seed=1)
    slices = [text[start : start + 5] for start in range(11)]
    assert len(windows) == 50
    assert all(list(window) in slices for window in windows)


def test_batches_begin_at_every_place():
    # WHY these bounds: each of 6 places gets 1,000 of 6,000 draws, with a standard deviation of 29.
    windows = adapters.run_batches(list(range(10)), context_size=4, batch_size=6000, seed=1)
    starts = Counter(window[0] for window in windows)
    assert set(starts) == set(range(6))
    assert all(800 < count < 1200 for count in starts.values())


def test_batches_of_a_text_as_long_as_a_window():
    assert adapters.run_batches([7, 8, 9], context_size=2, batch_size=3, seed=1) == [[7, 8, 9]] * 3
    with pytest.raises(ValueError):
        adapters.run_batches([7, 8, 9], context_size=3, batch_size=3, seed=1)


def test_batches_follow_the_seed():
    text = list(range(1000))
    first, again, other = (adapters.run_batches(text, 8, 16, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


# --- checkpoint ---------------------------------------------------------------------------------------------


def exactly(tensors: dict[str, object]) -> str:
    """A text that must be equal; it distinguishes -0.0 from 0.0."""
    return repr(sorted(tensors.items()))


def test_checkpoint_gives_back_every_digit(tmp_path: Path):
    adapters.run_checkpoint_save(tmp_path / "model", TENSORS)
    (tmp_path / "model").rename(tmp_path / "moved")
    assert exactly(adapters.run_checkpoint_load(tmp_path / "moved")) == exactly(TENSORS)


def test_checkpoint_is_replaced(tmp_path: Path):
    adapters.run_checkpoint_save(tmp_path / "one", TENSORS)
    adapters.run_checkpoint_save(tmp_path / "two", {"w": [1.0]})
    adapters.run_checkpoint_save(tmp_path / "one", {"w": [2.0]})
    assert adapters.run_checkpoint_load(tmp_path / "two") == {"w": [1.0]}
    assert adapters.run_checkpoint_load(tmp_path / "one") == {"w": [2.0]}


def test_checkpoint_is_no_pickle(tmp_path: Path):
    path = tmp_path / "model"
    adapters.run_checkpoint_save(path, TENSORS)
    contents = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents += [archive.read(name) for name in archive.namelist()]
    assert not any(map(is_pickle, contents))


def is_pickle(content: bytes) -> bool:
    """Whether the bytes are a pickle; they are read, not run."""
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(content))
    except ValueError:
        return False


def test_a_pickle_is_recognized():
    assert is_pickle(b"\x80\x04}.")  # an empty dictionary
    assert not is_pickle(b"\x80\x04}")
    assert not is_pickle(b"{}")
