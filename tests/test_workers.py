"""test_workers.py - Several processes give the same numbers as one, bit for bit, and none is left over."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import needs_processes
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.embeddings import EmbeddingsModel
from toy_gpt_train.models.gpt import GPTModel
from toy_gpt_train.models.sizes import NetworkSettings
from toy_gpt_train.progress import Progress
from toy_gpt_train.training.batches import draw_windows
from toy_gpt_train.training.workers import (
    BatchStats,
    MicroBatch,
    ProcessWorkers,
    SerialWorkers,
    batch_gradient,
    cut_batch,
    micro_batch_gradient,
    micro_batch_loss,
    sum_stats,
)

CONTEXT = 4
# Large enough that one gradient (264 KB) does not fit into the buffer of a pipe.
VOCAB_SIZE = 4000
BUILD = partial(GPTModel.build_network, VOCAB_SIZE, CONTEXT, Architecture(4, hidden_dim=8, heads=2, dropout=0.3), 0)
SMALL = partial(EmbeddingsModel.build_network, 5, 1, Architecture(2), 0)
TEXT = [(i * i * 37) % VOCAB_SIZE for i in range(60)]


def list_of_children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children")


needs_proc = pytest.mark.skipif(not list_of_children(os.getpid()).exists(), reason="children are found in /proc")


def processes_left():
    """The worker processes that are still there after some time to end in."""
    for child in multiprocessing.active_children():
        child.join(10)
    return multiprocessing.active_children()


@pytest.fixture(scope="class", params=[2, 3])
def several(request):
    """A network, and processes that work for it."""
    network = BUILD()
    workers = ProcessWorkers(network, BUILD, request.param)
    yield network, workers
    workers.close()
    assert processes_left() == []


# --- the same numbers ---------------------------------------------------------------------------------------


def batch_of(num_windows, size, seed):
    generator = random.Random(seed)
    windows = draw_windows(TEXT, CONTEXT, num_windows, generator)
    return cut_batch(windows, size, lambda: generator.getrandbits(32))


# One micro-batch, fewer than processes, as many, more, an uneven number, and a last one that is smaller.
BATCHES = [(1, 1), (2, 2), (2, 1), (3, 1), (4, 1), (5, 2), (7, 1), (7, 3)]


@needs_processes
class TestSameNumbers:
    # WHY a class: its processes end with it, so that the tests below find none.

    @pytest.mark.slow
    @pytest.mark.parametrize(("num_windows", "size"), BATCHES)
    def test_stats_and_gradients_are_bit_for_bit_those_of_one_process(self, several, num_windows, size):
        network, workers = several
        micro_batches = batch_of(num_windows, size, seed=num_windows)
        # REQ: the weights of the moment count, not those that the processes began with.
        generator = random.Random(num_windows + size)
        for parameter in network.parameters():
            parameter.data = array("d", [w + generator.gauss(0, 0.1) for w in parameter.data])
        for with_gradient in (True, False):
            expected = list(SerialWorkers(network).results(micro_batches, with_gradient=with_gradient))
            answers = list(workers.results(micro_batches, with_gradient=with_gradient))
            assert [stats for stats, _ in answers] == [stats for stats, _ in expected]
            assert [gradient.tobytes() for _, gradient in answers] == [gradient.tobytes() for _, gradient in expected]
            assert all(type(stats.num_tokens) is type(stats.correct) is int for stats, _ in answers)
            assert all(bool(gradient) == with_gradient for _, gradient in answers)
            assert sum(stats.num_tokens for stats, _ in answers) == num_windows * CONTEXT

    def test_the_sum_over_a_batch_is_bit_for_bit_that_of_one_process(self, several):
        network, workers = several
        micro_batches = batch_of(7, 2, seed=1)
        gradients = []
        for who in (SerialWorkers(network), workers):
            stats = batch_gradient(network, who, micro_batches)
            gradients.append((stats, [parameter.grad.tobytes() for parameter in network.parameters()]))
        assert gradients[0] == gradients[1]

    def test_dropout_is_the_micro_batches_own(self, several):
        _, workers = several
        window = TEXT[: CONTEXT + 1]
        micro_batches = [MicroBatch([window], 0.25, seed) for seed in (5, 6, 5, 2**32 - 1)]
        losses = [stats.loss for stats, _ in workers.results(micro_batches, with_gradient=True)]
        assert losses[0] == losses[2]
        assert len(set(losses)) == 3
        # Without gradients there is no dropout.
        assert len({stats for stats, _ in workers.results(micro_batches, with_gradient=False)}) == 1


def test_shares_make_the_mean_over_unequal_micro_batches():
    # Three windows in one micro-batch and one in the other: the batch's loss is the mean over all four.
    network = SMALL()
    windows = [[0, 1], [1, 2], [2, 3], [3, 4]]
    micro_batches = cut_batch(windows, 3, lambda: 0)
    stats = batch_gradient(network, SerialWorkers(network), micro_batches)
    each = [micro_batch_loss(network, MicroBatch([window]))[0].loss for window in windows]
    assert stats.loss == pytest.approx(sum(each) / 4, rel=1e-12)
    summed = [parameter.grad for parameter in network.parameters()]
    alone = [micro_batch_gradient(network, MicroBatch([window], 0.25))[1] for window in windows]
    flat = [g for part in summed for g in part]
    assert flat == pytest.approx([sum(column) for column in zip(*alone, strict=True)], abs=1e-15)


def test_micro_batch_gradient_leaves_no_trace_in_the_network():
    network = BUILD()
    before = [parameter.data.tobytes() for parameter in network.parameters()]
    micro_batch_gradient(network, batch_of(2, 2, seed=0)[0])
    assert [parameter.data.tobytes() for parameter in network.parameters()] == before
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


stats_of_batches = st.builds(BatchStats, st.floats(0, 100), st.integers(1, 1000), st.integers(0, 1000))


@given(st.lists(stats_of_batches, min_size=1, max_size=9))
def test_stats_together(several_stats):
    total = sum_stats(several_stats)
    tokens = sum(stats.num_tokens for stats in several_stats)
    assert (total.num_tokens, total.correct) == (tokens, sum(stats.correct for stats in several_stats))
    each = [stats.loss for stats in several_stats for _ in range(stats.num_tokens)]
    assert total.loss == pytest.approx(sum(each) / len(each), rel=1e-9, abs=1e-12)


@given(st.integers(1, 30), st.integers(1, 40))
def test_cutting_loses_nothing(num_windows, size):
    windows = [[i, i + 1] for i in range(num_windows)]
    seeds = iter(range(100))
    parts = cut_batch(windows, size, lambda: next(seeds))
    assert [window for part in parts for window in part.windows] == windows
    assert [len(part.windows) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert 1 <= len(parts[-1].windows) <= size
    assert [part.share * num_windows for part in parts] == pytest.approx([len(part.windows) for part in parts])
    assert [part.seed for part in parts] == list(range(len(parts)))


@st.composite
def micro_batches_of_windows(draw):
    length = draw(st.integers(2, 6))
    window = st.lists(st.integers(0, 2**31), min_size=length, max_size=length)
    return MicroBatch(
        draw(st.lists(window, min_size=1, max_size=4)),
        draw(st.floats(min_value=0, exclude_min=True, max_value=1)),
        draw(st.integers(0, 2**32 - 1)),
    )


@given(st.lists(micro_batches_of_windows(), max_size=5), st.booleans())
@settings(deadline=None)
def test_what_is_sent_is_what_arrives(micro_batches, with_gradient):
    work_sent = micro_batch_gradient if with_gradient else micro_batch_loss
    work, arrived = pickle.loads(pickle.dumps((work_sent, micro_batches)))
    assert arrived == micro_batches
    assert work is (micro_batch_gradient if with_gradient else micro_batch_loss)
    assert all(
        type(token_id) is int for micro_batch in arrived for window in micro_batch.windows for token_id in window
    )
    assert all(type(micro_batch.seed) is int for micro_batch in arrived)


# --- a whole training run ---------------------------------------------------------------------------------------


def command(base, corpus, *options):
    return (
        *("train", "--model", "gpt", "--base-dir", base, "--corpus", corpus),
        *("--context", 4, "--embedding-dim", 4, "--hidden", 4, "--heads", 2, "--dropout", 0.2),
        *("--batch-size", 5, "--piece-size", 2, "--eval-every", 3, "--val-fraction", 0.3, *options),
    )


@contextmanager
def at_step(step, action):
    """Do something when training reports its nth step."""
    calls = []

    def update(*call):
        calls.append(call)
        if len(calls) == step:
            action()

    with mock.patch.object(Progress, "update", update):
        yield calls


def stop():
    raise KeyboardInterrupt


@needs_processes
def test_the_number_of_workers_changes_no_byte(tmp_path, tiny_corpus, toy_gpt, listing):
    bases = [tmp_path / name / "run" for name in ("one", "two")]
    options = ("--steps", 7, "--checkpoint-every", 2)
    assert toy_gpt(*command(bases[0], tiny_corpus, *options)).code == 0
    # Two processes, stopped in the middle; then one process goes on.
    with at_step(5, stop):
        assert toy_gpt(*command(bases[1], tiny_corpus, *options, "--workers", 2)).code == 130
    assert processes_left() == []
    assert [path.name for path in (bases[1] / "outputs" / "checkpoints").iterdir()] == ["step-00000004"]
    assert toy_gpt(*command(bases[1], tiny_corpus, *options, "--resume")).code == 0
    files = listing(bases[0])
    assert "outputs/train_log.csv" in files
    assert listing(bases[1]) == files


@pytest.mark.slow
@needs_processes
def test_three_workers_write_what_one_does(tmp_path, tiny_corpus, toy_gpt, listing):
    bases = [tmp_path / name / "run" for name in ("one", "three")]
    for base, workers in zip(bases, (1, 3), strict=True):
        assert toy_gpt(*command(base, tiny_corpus, "--steps", 4, "--workers", workers)).code == 0
    assert listing(bases[0]) == listing(bases[1])
    assert processes_left() == []


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(tmp_path, tiny_corpus, toy_gpt, workers):
    outcome = toy_gpt(*command(tmp_path, tiny_corpus, "--steps", 1, "--workers", workers))
    assert outcome.refused
    assert "worker" in outcome.err


# --- what goes wrong ----------------------------------------------------------------------------------------


@needs_processes
def test_a_killed_worker_ends_training_in_one_line(tmp_path, tiny_corpus, toy_gpt, listing):
    assert toy_gpt(*command(tmp_path, tiny_corpus, "--steps", 2)).code == 0
    before = listing(tmp_path)
    killed = []

    def kill():
        killed.append(multiprocessing.active_children()[0])
        killed[0].kill()

    with at_step(2, kill) as calls:
        outcome = toy_gpt(*command(tmp_path, tiny_corpus, "--steps", 9, "--workers", 2))
    assert killed
    assert outcome.failed
    assert "a worker process has ended" in outcome.err
    assert "--workers 1" in outcome.err
    assert 2 <= len(calls) < 9
    assert listing(tmp_path) == before
    assert processes_left() == []


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("at", [1, 2])
def test_a_stopped_worker_ends_training_in_one_line(tmp_path, tiny_corpus, toy_gpt, monkeypatch, at):
    monkeypatch.setattr("toy_gpt_train.training.workers.PATIENCE_SECONDS", 3)

    def stop_a_worker():
        os.kill(multiprocessing.active_children()[at - 1].pid, signal.SIGSTOP)

    with at_step(at, stop_a_worker):
        # So many weights do not fit into the buffer of a pipe: sending them waits too.
        outcome = toy_gpt(*command(tmp_path, tiny_corpus, "--steps", 9, "--workers", 2, "--hidden", 4000))
    assert outcome.failed
    assert "no sign of life for 3 seconds" in outcome.err
    assert processes_left() == []


def built_slowly():
    end = time.monotonic() + 15
    while time.monotonic() < end:
        sum(range(1000))
    return SMALL()


@pytest.mark.slow
@needs_processes
def test_a_worker_that_is_busy_for_long_is_waited_for(monkeypatch):
    monkeypatch.setattr("toy_gpt_train.training.workers.PATIENCE_SECONDS", 10)  # to start, too
    started = time.monotonic()
    workers = ProcessWorkers(SMALL(), built_slowly, 1)
    ((stats, _),) = workers.results([MicroBatch([[0, 1]])], with_gradient=True)
    workers.close()
    assert stats.num_tokens == 1
    assert time.monotonic() - started > 15


@needs_processes
def test_killed_closed_and_closed_again():
    network = SMALL()
    micro_batches = [MicroBatch([[0, 1]], 0.5), MicroBatch([[1, 2]], 0.5)]
    workers = ProcessWorkers(network, SMALL, 1)
    assert len(list(workers.results(micro_batches, with_gradient=True))) == 2
    (child,) = multiprocessing.active_children()
    child.kill()
    child.join()
    for _ in range(2):
        with pytest.raises(ChildProcessError, match="a worker process has ended"):
            list(workers.results(micro_batches, with_gradient=True))
    workers.close()
    workers.close()
    assert processes_left() == []


class StopHereError(Exception):
    """What a test raises to see it come back."""


def training_by_two_processes(on_progress=None):
    numbers = NetworkSettings(
        architecture=Architecture(2),
        context=1,
        steps=5,
        batch_size=2,
        micro_batch=1,
        learning_rate=0.1,
        warmup=1,
        eval_every=1,
    )
    model = EmbeddingsModel.build(5, numbers, 0)
    return model.fit(Text([0, 1, 2, 3, 4], 5), numbers, workers=2, on_progress=on_progress)


@needs_processes
def test_an_exception_leaves_no_process():
    def stop_here(*_):
        assert len(multiprocessing.active_children()) == 2
        raise StopHereError

    with pytest.raises(StopHereError):
        list(training_by_two_processes(stop_here))
    assert processes_left() == []


@needs_processes
def test_control_c_before_the_sender_has_started_leaves_no_process():
    workers = ProcessWorkers(SMALL(), SMALL, 1)
    unstarted = mock.patch("toy_gpt_train.training.workers.Thread.start", side_effect=KeyboardInterrupt)
    with unstarted, pytest.raises(KeyboardInterrupt):
        next(workers.results([MicroBatch([[0, 1]])], with_gradient=False))
    workers.close()
    assert processes_left() == []


@needs_processes
def test_training_that_nobody_finishes_leaves_no_process():
    records = training_by_two_processes()
    assert next(records)["step"] == 1
    assert len(multiprocessing.active_children()) == 2
    records.close()
    assert processes_left() == []


@needs_processes
def test_when_a_process_cannot_be_started_the_others_end():
    true_start = SpawnProcess.start
    started = []

    def start(process):
        if started:
            raise OSError(11, "Resource temporarily unavailable")
        true_start(process)
        started.append(process)

    message = r"no worker process can be started \(Resource temporarily unavailable\); train with --workers 1"
    with mock.patch.object(SpawnProcess, "start", start), pytest.raises(ChildProcessError, match=message):
        ProcessWorkers(SMALL(), SMALL, 2)
    assert len(started) == 1
    assert processes_left() == []


@needs_proc
def test_workers_are_deaf_to_control_c_from_their_first_moment():
    # WHY: Ctrl-C reaches all processes of a terminal. One that is still importing would answer with a traceback.
    workers = ProcessWorkers(SMALL(), SMALL, 1)
    try:
        (child,) = multiprocessing.active_children()
        lines = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii").splitlines()
        masks = dict(line.split(":\t", 1) for line in lines if line.startswith(("SigIgn", "SigBlk")))
        assert any(int(mask, 16) >> (signal.SIGINT - 1) & 1 for mask in masks.values())
        # And this process still hears it.
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        workers.close()
        assert processes_left() == []


# --- the processes of a whole command -----------------------------------------------------------------------


def children_of(pid):
    return [int(child) for child in list_of_children(pid).read_text(encoding="ascii").split()]


def is_running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextmanager
def training_by_two(base, corpus):
    """A training run in a process of its own, with two workers; yielded as soon as they have worked."""
    options = command(base, corpus, "--steps", 10**6, "--checkpoint-every", 1, "--workers", 2)
    parent = subprocess.Popen(
        [sys.executable, "-m", "toy_gpt_train", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until(lambda: list((base / "outputs" / "checkpoints").glob("step-*")))
        yield parent
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.slow
@needs_proc
def test_a_killed_training_leaves_no_process(tmp_path, tiny_corpus):
    with training_by_two(tmp_path / "run", tiny_corpus) as parent:
        children = children_of(parent.pid)
        assert len(children) >= 2
        assert all(map(is_running, children))
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(map(is_running, children)))
        _, err = parent.communicate()
    assert b"Traceback" not in err


@needs_proc
def test_control_c_ends_all_processes_in_one_line(tmp_path, tiny_corpus):
    with training_by_two(tmp_path / "run", tiny_corpus) as parent:
        children = children_of(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=20)
    assert (parent.returncode, out.count(b"\n")) == (130, 4)  # the plan
    assert err.decode("utf-8").split("\n")[-2:] == ["stopped; nothing is half-written", ""]
    # Before it, on a slow machine, there is only how far training was.
    assert [line for line in err.decode("utf-8").splitlines()[:-1] if line and "%" not in line] == []
    wait_until(lambda: not any(map(is_running, children)))
    assert list((tmp_path / "run").rglob("*.json")) == list((tmp_path / "run").rglob("state.json"))


@pytest.mark.slow
@needs_proc
def test_control_c_ends_training_whose_workers_are_stopped(tmp_path, tiny_corpus):
    with training_by_two(tmp_path / "run", tiny_corpus) as parent:
        children = children_of(parent.pid)
        workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(parent.pid, signal.SIGINT)
        _, err = parent.communicate(timeout=20)
        assert parent.returncode == 130
        assert err.decode("utf-8").endswith("stopped; nothing is half-written\n")
        wait_until(lambda: not any(map(is_running, children)))
