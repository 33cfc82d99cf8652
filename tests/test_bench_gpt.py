"""test_bench_gpt.py - The course's GPT and the engine's are the same model, to the last gradient."""

import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from toy_gpt_train import f_gpt
from toy_gpt_train.f_gpt import GPT
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
def scalar() -> GPT:
    return GPT(random.Random(7))


# --- the two models ---------------------------------------------------------------------------------------------


def test_engine_model_has_4192_weights(scalar: GPT) -> None:
    tables, matrices = 27 * 16 + 16 * 16, 4 * 16 * 16 + 2 * 16 * 64 + 16 * 27
    model = bench.build_engine(scalar)
    assert model.num_parameters() == tables + matrices == 4192
    assert sorted(model.state_dict()) == sorted(bench.ENGINE_NAMES.values())
    assert not [name for name in model.state_dict() if "bias" in name or "norm" in name]


class Comparison(NamedTuple):
    """How far the engine is from the scalar model after one name, and the largest gradient."""

    loss: float
    gradient: float
    largest: float


def compare(scalar: GPT, name: str, *, exact: bool) -> Comparison:
    model, ids = bench.build_engine(scalar), bench.encode(name)
    loss, scalar_loss = cross_entropy(model.forward([ids[:-1]], exact=exact), ids[1:]), scalar.loss(name)
    loss.backward()
    scalar_loss.backward()
    parameters = model.state_dict()
    engine, course = [], []
    for own, theirs in bench.ENGINE_NAMES.items():
        # Every matrix has its part in the loss, so that not only zeros are compared.
        assert any(parameters[theirs].grad)
        engine += parameters[theirs].grad
        course += [value.grad for row in scalar.weights[own] for value in row]
    assert len(engine) == len(course) == 4192
    difference = max(abs(a - b) for a, b in zip(engine, course, strict=True))
    return Comparison(abs(loss.item() - scalar_loss.data), difference, max(map(abs, course)))


@pytest.mark.parametrize("name", ["zabbo", "mimim"])
def test_engine_and_course_agree(scalar: GPT, name: str) -> None:
    found = compare(scalar, name, exact=True)
    assert found.loss <= 1e-9
    assert found.gradient <= 1e-9


@pytest.mark.parametrize("name", ["zabbo", "mimim"])
def test_engine_and_course_agree_with_packed_products(scalar: GPT, name: str) -> None:
    # WHY of the largest: the packed kernel rounds to about 22 bits of the largest number, not of each.
    found = compare(scalar, name, exact=False)
    assert found.loss <= 1e-6
    assert found.gradient <= 1e-6 * found.largest


def test_both_learn_the_same(scalar: GPT) -> None:
    model = bench.build_engine(scalar)
    before = [w for parameter in model.parameters() for w in parameter.data]
    names = ["abc", "dab"]
    engine = list(bench.train_engine(model, names, 3, exact=True))
    assert engine == pytest.approx(list(f_gpt.train(scalar, names, 3)), abs=1e-9, rel=0)
    parameters = model.state_dict()
    for own, theirs in bench.ENGINE_NAMES.items():
        course = [value.data for row in scalar.weights[own] for value in row]
        assert list(parameters[theirs].data) == pytest.approx(course, abs=1e-9, rel=0)
    after = [w for parameter in model.parameters() for w in parameter.data]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) > 0.01


# --- names and reports ------------------------------------------------------------------------------------------


def test_names_have_boundaries(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Ab\nz\n" + "a" * 20 + "\n", encoding="utf-8")
    names = bench.read_names(path)
    assert names == ["ab", "z", "a" * 20]
    assert [bench.encode(name) for name in names] == [[26, 0, 1, 26], [26, 25, 26], [26] + [0] * 16]


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


def test_only_the_steps_taken_are_timed() -> None:
    taken: list[float] = []

    def losses() -> Iterator[float]:
        for loss in (3.0, 2.0, 1.0, 0.5):
            taken.append(loss)
            yield loss

    run = bench.timed(losses(), 3)
    assert bench.losses_of(run) == taken == [3.0, 2.0, 1.0]
    assert all(seconds >= 0 for _, seconds in run)


def test_rate_falls_and_names_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    targets: list[list[int]] = []

    class Optimizer:
        lr = 0.0

        def __init__(self, *_: Any, **options: Any) -> None:
            assert options == {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}

        def step(self) -> None:
            rates.append(self.lr)

    def recording(logits: Any, target_ids: list[int]) -> Any:
        targets.append(target_ids)
        return cross_entropy(logits, target_ids)

    monkeypatch.setattr(bench, "AdamW", Optimizer)
    monkeypatch.setattr(bench, "cross_entropy", recording)
    losses = list(bench.train_engine(bench.build_engine(GPT(random.Random(1))), ["ab", "c"], 4))
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert targets == [[0, 1, 26], [2, 26]] * 2
    assert losses[:2] == losses[2:]  # this optimizer learns nothing


def test_difference_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_difference([1.0, 2.5, 2.25], [1.0, 2.0, 2.0], [1.0, 2.0, 2.0])
    printed = capsys.readouterr().out
    assert "NO" in printed
    assert "over 3 steps: largest difference 5.0e-01, at the last 2.5e-01" in printed
    assert "exact matrix products: largest difference 0.0e+00" in printed
    bench.report_difference([1.0], [1.5], [1.0])
    assert "first 1 steps: equal to 1e-06: yes" in capsys.readouterr().out


def test_speed_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_speed({"slow": [(1.0, 2.0)], "fast": [(1.0, 0.5), (1.0, 0.5)]}, ["ab", "z"])
    _, slow, fast = capsys.readouterr().out.splitlines()
    assert slow.split() == ["slow", "1", "3", "2.00", "2", "1.0"]  # 3 tokens in 2 seconds
    assert fast.split() == ["fast", "2", "5", "1.00", "5", "3.3"]


def test_loss_curve_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    bench.report_losses([1.0] * 100 + [2.0, 3.0])
    _, first, rest = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "to", "100", "1.0000"]
    assert rest.split() == ["101", "to", "102", "2.5000"]
