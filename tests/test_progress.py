"""test_progress.py - What a person sees who waits: a bar, lines, or nothing."""

import io

import pytest

from toy_gpt_train import progress
from toy_gpt_train.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


@pytest.mark.parametrize("stream_class", [io.StringIO, Terminal])
def test_no_progress_for_a_short_run(clock: Clock, stream_class: type[io.StringIO]) -> None:
    stream = stream_class()
    shown = Progress("training", stream)
    for step in range(1, 100):
        clock.now += 0.01
        shown.update(step / 100, "epoch 1/1")
    shown.close()
    assert stream.getvalue() == ""


def test_progress_in_lines(clock: Clock) -> None:
    stream = io.StringIO()
    shown = Progress("training", stream)
    for step in range(1, 101):
        clock.now += 0.25
        shown.update(step / 100, f"epoch {step}/100")
    shown.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "training 10% epoch 10/100, 2.5 s, 22 s left"
    assert lines[4] == "training 50% epoch 50/100, 12.5 s, 12 s left"
    assert lines[-1] == "training 100% epoch 100/100, 25.0 s"
    assert stream.getvalue().isprintable() or "\r" not in stream.getvalue()
    assert "\033" not in stream.getvalue()


def test_progress_as_a_bar(clock: Clock) -> None:
    stream = Terminal()
    shown = Progress("training", stream)
    clock.now += 2.0
    shown.update(0.5, "epoch 1/2")
    assert stream.getvalue() == f"\rtraining [{'#' * 15}{'.' * 15}]  50% epoch 1/2, 2 s left\033[K"
    clock.now += 0.06
    shown.update(0.6, "epoch 2/2")  # too soon to draw again
    assert stream.getvalue().count("\r") == 1
    clock.now += 0.06
    shown.update(1.0, "epoch 2/2")
    assert stream.getvalue().endswith(f"\rtraining [{'#' * 30}] 100% epoch 2/2\033[K")
    shown.close()
    assert stream.getvalue().endswith("\r\033[K")
    assert "\n" not in stream.getvalue()


def test_progress_survives_no_progress(clock: Clock) -> None:
    stream = Terminal()
    shown = Progress("training", stream)
    clock.now += 5
    shown.update(0.0)
    assert "left" not in stream.getvalue()
