"""test_bench_gpt.py - The benchmark's scalar model and the engine's are the same model, to the last gradient."""

import importlib.util
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.nn import kernels
from toy_gpt_train.nn.functional import cross_entropy

BENCH = Path(__file__).parent.parent / "benchmarks" / "bench_gpt.py"


def load_bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_gpt", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = load_bench()


@pytest.fixture
def model() -> Any:
    return bench.build_model(random.Random(7))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product is done by the packed kernel."""
    monkeypatch.setattr(kernels, "packed_matmul", kernels.plain_matmul)


# --- the two models ---------------------------------------------------------------------------------------------


def test_model_has_4192_weights(model: Any) -> None:
    tables, maps = 27 * 16 + 16 * 16, 4 * 16 * 16 + 2 * 16 * 64 + 16 * 27
    assert model.num_parameters() == tables + maps == 4192
    assert len(bench.ScalarGPT(model.state_dict()).parameters()) == 4192
    assert not [name for name in model.state_dict() if "bias" in name or "norm" in name]


class Comparison(NamedTuple):
    """How far the engine is from the scalar model after one name, and the largest gradient."""

    loss: float
    gradient: float
    largest: float


def compare(model: Any, name: str) -> Comparison:
    ids = bench.encode(name)
    scalar = bench.ScalarGPT(model.state_dict())
    loss, scalar_loss = cross_entropy(model.forward([ids[:-1]]), ids[1:]), scalar.loss(ids)
    loss.backward()
    scalar_loss.backward()
    # Every table and map has its part in the loss, so that not only zeros are compared.
    assert all(any(parameter.grad) for parameter in model.parameters())
    ours = [g for parameter in model.parameters() for g in parameter.grad]
    theirs = [value.grad for value in scalar.parameters()]
    assert len(ours) == len(theirs) == 4192
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    return Comparison(abs(loss.item() - scalar_loss.data), difference, max(map(abs, theirs)))


@pytest.mark.parametrize("name", ["zabbo", "mimim"])
@pytest.mark.usefixtures("plain")
def test_engine_and_scalar_model_agree(model: Any, name: str) -> None:
    found = compare(model, name)
    assert found.loss <= 1e-9
    assert found.gradient <= 1e-9


@pytest.mark.parametrize("name", ["zabbo", "mimim"])
def test_engine_and_scalar_model_agree_with_packed_products(model: Any, name: str) -> None:
    # WHY of the largest: the packed kernel rounds to about 22 bits of the largest number, not of each.
    found = compare(model, name)
    assert found.loss <= 1e-6
    assert found.gradient <= 1e-6 * found.largest


@pytest.mark.usefixtures("plain")
def test_both_learn_the_same(model: Any) -> None:
    scalar = bench.ScalarTrainer(bench.ScalarGPT(model.state_dict()))
    engine = bench.EngineTrainer(model)
    before = [w for parameter in model.parameters() for w in parameter.data]
    names = [bench.encode("abc"), bench.encode("dab")]
    ours, theirs = (bench.losses_of(list(bench.train(trainer, names, 3))) for trainer in (engine, scalar))
    assert ours == pytest.approx(theirs, abs=1e-9, rel=0)
    after = [w for parameter in model.parameters() for w in parameter.data]
    assert after == pytest.approx([value.data for value in scalar.parameters], abs=1e-9, rel=0)
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) > 0.01


# --- gradients of single numbers --------------------------------------------------------------------------------

EXPRESSIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda x, y: x + y + 3.0,
    "product": lambda x, y: x * y * -2.0,
    "power": lambda x, y: x**3 + y**-0.5,
    "exponential": lambda x, y: (x * y).exp(),
    "logarithm": lambda x, y: (x + y).log(),
    "bend": lambda x, y: (x + y * -1.0).relu() * y,
    "used again": lambda x, y: (x * x + y) * x * (y * x + y * y),
    "all": lambda x, y: ((x * y + x.exp()).log() * y).relu() + (x**2 + y) ** -1,
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
@settings(max_examples=20, deadline=None)
@given(a=st.floats(0.3, 2), b=st.floats(0.3, 2))
def test_gradients_are_differences(expression: str, a: float, b: float) -> None:
    function, h = EXPRESSIONS[expression], 1e-5
    if abs(a - b) < 2 * h:
        a += 0.1  # the bend's derivative jumps where its argument is 0
    x, y = bench.Value(a), bench.Value(b)
    function(x, y).backward()

    def at(a: float, b: float) -> float:
        return float(function(bench.Value(a), bench.Value(b)).data)

    assert x.grad == pytest.approx((at(a + h, b) - at(a - h, b)) / (2 * h), abs=1e-6, rel=1e-6)
    assert y.grad == pytest.approx((at(a, b + h) - at(a, b - h)) / (2 * h), abs=1e-6, rel=1e-6)


def test_numbers_by_hand() -> None:
    x = bench.Value(2.0)
    assert (x + x * 3.0).data == 8.0
    assert (x**3).data == 8.0
    assert (x.exp().log() * 0.5).data == pytest.approx(1.0)
    assert [(x * sign).relu().data for sign in (1.0, -1.0)] == [2.0, 0.0]
    assert [p.data for p in bench.softmaxed([bench.Value(0.0), bench.Value(math.log(3))])] == pytest.approx(
        [1 / 4, 3 / 4]
    )


def test_gradients_add_up_until_they_are_forgotten() -> None:
    x = bench.Value(3.0)
    (x * x).backward()
    (x * 2.0).backward()
    assert x.grad == 8.0


# --- names and reports ------------------------------------------------------------------------------------------


def test_names_stand_between_boundaries(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Ab\nz\n" + "a" * 20 + "\n", encoding="utf-8")
    assert bench.read_names(path) == [[26, 0, 1, 26], [26, 25, 26], [26] + [0] * 16]


@pytest.mark.parametrize("content", [None, b"", b"ann\nzo\xc3\xab\n", b"\xff\n", b"a1\n"])
def test_useless_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        bench.read_names(path)
    printed = capsys.readouterr()
    assert (caught.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert "names.txt" in printed.err


class Recorder:
    """A trainer that learns nothing."""

    def __init__(self) -> None:
        self.seen: list[tuple[Sequence[int], float]] = []

    def step(self, ids: Sequence[int], lr: float) -> float:
        self.seen.append((ids, lr))
        return float(len(self.seen))


def test_steps_shrink_in_a_line_and_names_come_again() -> None:
    recorder = Recorder()
    run = list(bench.train(recorder, [[1, 2], [3, 4]], 4))
    assert bench.losses_of(run) == [1.0, 2.0, 3.0, 4.0]
    assert [ids for ids, _ in recorder.seen] == [[1, 2], [3, 4], [1, 2], [3, 4]]
    assert [lr for _, lr in recorder.seen] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


def test_difference_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_difference([1.0, 2.5, 2.25], [1.0, 2.0, 2.0], [1.0, 2.0, 2.0])
    printed = capsys.readouterr().out
    assert "NO" in printed
    assert "over 3 steps: largest difference 5.0e-01, at the last 2.5e-01" in printed
    assert "alone: largest difference 0.0e+00" in printed
    bench.report_difference([1.0], [1.5], [1.0])
    assert "first 1 steps: equal to 1e-06: yes" in capsys.readouterr().out


def test_speed_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_speed({"slow": [(1.0, 2.0)], "fast": [(1.0, 0.5), (1.0, 0.5)]}, [[26, 0, 1, 26], [26, 25, 26]])
    _, slow, fast = capsys.readouterr().out.splitlines()
    assert slow.split() == ["slow", "1", "3", "2.00", "2", "1.0"]  # 3 tokens in 2 seconds
    assert fast.split() == ["fast", "2", "5", "1.00", "5", "3.3"]


def test_loss_curve_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_losses([1.0] * 100 + [2.0, 3.0])
    _, first, rest = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "to", "100", "1.0000"]
    assert rest.split() == ["101", "to", "102", "2.5000"]
