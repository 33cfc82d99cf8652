"""test_checkpoints.py - A run that was stopped, in any way at any time, ends as one that was not, bit for bit."""

import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from array import array
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import needs_processes
from toy_gpt_train import run
from toy_gpt_train.artifacts import checkpoints as module
from toy_gpt_train.artifacts.checkpoints import Checkpoints, newest_state
from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.models.sizes import NetworkSettings
from toy_gpt_train.progress import Progress
from toy_gpt_train.training.engines.stdlib import StdlibEngine
from toy_gpt_train.training.steps import Checkpoint, train_steps

pytestmark = pytest.mark.filterwarnings("ignore:resumed from step:toy_gpt_train.errors.InputWarning")

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")
IDENTITY = {"corpus": "c0ffee", "steps": 10, "learning_rate": 0.1}


def tensor(*numbers):
    return (len(numbers),), array("d", numbers)


def checkpoint_of(step, number=None):
    """A small checkpoint; its numbers tell which one it is."""
    number = step if number is None else number
    progress = {"history": [{"epoch": number / 7, "avg_loss": 0.1 + 0.2}], "random": [3, [number, 2**32 - 1], None]}
    return Checkpoint(step, {"w": tensor(number, -0.0)}, {"first.w": tensor(1 / (number + 1), 5e-324)}, progress)


def same(one, other):
    """Whether two checkpoints are equal, bit for bit."""

    def plain(checkpoint):
        stored = [
            {name: (shape, data.typecode, data.tobytes()) for name, (shape, data) in tensors.items()}
            for tensors in (checkpoint.weights, checkpoint.optimizer)
        ]
        return checkpoint.step, stored, checkpoint.progress

    return plain(one) == plain(other)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# --- saving and loading -------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
tensors = st.dictionaries(st.text(min_size=1, max_size=8), st.lists(finite, max_size=6).map(lambda x: tensor(*x)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | finite | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(tensors, tensors, st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.integers(0, 99_999_999))
@settings(max_examples=40, deadline=None)
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, weights, optimizer, progress, step):
    folder = tmp_path_factory.mktemp("round") / "checkpoints"
    saved = Checkpoint(step, weights, optimizer, progress)
    Checkpoints(folder, 1, IDENTITY).save(saved)
    loaded = Checkpoints(folder, 0, dict(IDENTITY)).load()
    assert same(loaded, saved)
    shutil.rmtree(folder)


def test_without_a_folder_there_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none", 1, IDENTITY)
    assert newest_state(checkpoints.folder) is None
    assert checkpoints.load() is None
    checkpoints.clear()
    assert names_in(tmp_path) == []


def test_only_the_newest_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    for step in (2, 4, 10, 100):
        checkpoints.save(checkpoint_of(step))
        assert names_in(tmp_path) == [f"step-{step:08}"]
        assert sorted(names_in(tmp_path / f"step-{step:08}")) == sorted(FILES)
        assert same(checkpoints.load(), checkpoint_of(step))
    checkpoints.clear()
    assert not tmp_path.exists()


def test_of_several_the_newest_counts(tmp_path):
    for step in (9, 100, 20):
        Checkpoints(tmp_path / str(step), 1, IDENTITY).save(checkpoint_of(step))
        shutil.move(tmp_path / str(step) / f"step-{step:08}", tmp_path)
        (tmp_path / str(step)).rmdir()
    assert same(Checkpoints(tmp_path, 1, IDENTITY).load(), checkpoint_of(100))


def half_written(folder, step, pid):
    aside = folder / f".step-{step:08}.{pid}.tmp"
    aside.mkdir(parents=True)
    (aside / FILES[0]).write_bytes(b"half")
    return aside


def test_a_half_written_folder_is_ignored_and_later_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    half_written(tmp_path, 2, 99_999)
    assert newest_state(checkpoints.folder) is None
    assert checkpoints.load() is None
    checkpoints.save(checkpoint_of(2))
    assert names_in(tmp_path) == ["step-00000002"]
    half_written(tmp_path, 4, 99_999)
    assert same(checkpoints.load(), checkpoint_of(2))
    checkpoints.save(checkpoint_of(4))
    assert names_in(tmp_path) == ["step-00000004"]


def test_a_folder_left_by_a_process_with_the_same_id_does_no_harm(tmp_path):
    # In a container every process may have the id 1.
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    half_written(tmp_path, 2, os.getpid())
    checkpoints.save(checkpoint_of(2))
    assert names_in(tmp_path) == ["step-00000002"]
    assert same(checkpoints.load(), checkpoint_of(2))


@pytest.mark.parametrize(
    "name", ["step-", "step-2", "step-000000002", "step-0000000x", "steps-00000002", "step-٠٠٠٠٠٠٠٢", "-rf"]
)
def test_folders_with_other_names_are_no_checkpoints(tmp_path, name):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    checkpoints.save(checkpoint_of(2))
    (tmp_path / "step-00000002").rename(tmp_path / name)
    assert newest_state(checkpoints.folder) is None
    assert checkpoints.load() is None


@pytest.mark.parametrize(
    ("name", "mine", "said"),
    [
        ("corpus", "decaf", 'its corpus is "c0ffee", not "decaf"'),
        ("learning_rate", 0.2, "its learning rate is 0.1, not 0.2"),
        ("dropout", 0.5, "its dropout is null, not 0.5"),
        ("corpus", "0123456789abcdef0123456789", 'its corpus is "c0ffee", not "0123456789abcdef...'),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, name, mine, said):
    Checkpoints(tmp_path, 1, IDENTITY).save(checkpoint_of(1))
    with pytest.raises(InputError) as refusal:
        Checkpoints(tmp_path, 1, {**IDENTITY, name: mine}).load()
    assert str(refusal.value) == f"{tmp_path / 'step-00000001'}: this checkpoint is of another run: {said}"


# --- saving that goes wrong ---------------------------------------------------------------------------------


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def control_c():
    raise KeyboardInterrupt


class KilledError(BaseException):
    """Stands for SIGKILL: nothing is tidied up afterwards."""


def killed():
    raise KilledError


@contextmanager
def failing_once(where, name, call, failure, *, after):
    """Let one call of a function fail, before or after its work; after a kill nothing is removed."""
    true_function = getattr(where, name)
    calls = []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call and not after:
            failure()
        done = true_function(*arguments, **options)
        if len(calls) == call and after:
            failure()
        return done

    with ExitStack() as stack:
        if failure is killed and name != "rmtree":
            stack.enter_context(nothing_removed())
        stack.enter_context(mock.patch.object(where, name, failing))
        yield calls


def nothing_removed():
    return mock.patch.object(module.shutil, "rmtree")


# What saving does, one thing after the other.
DOINGS = [
    (Path, "mkdir", 1),
    (module, "write_safetensors", 1),
    (module, "write_safetensors", 2),
    (Path, "write_text", 1),
    (Path, "rename", 1),
    (module.shutil, "rmtree", 1),
]


@pytest.mark.parametrize("failure", [full_disk, control_c, killed])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("where", "name", "call"), DOINGS, ids=[f"{name}-{call}" for _, name, call in DOINGS])
def test_saving_that_fails_leaves_a_whole_checkpoint(tmp_path, where, name, call, after, failure):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    checkpoints.save(checkpoint_of(2))
    with (
        failing_once(where, name, call, failure, after=after) as calls,
        pytest.raises((OSError, KeyboardInterrupt, KilledError)),
    ):
        checkpoints.save(checkpoint_of(4))
    assert len(calls) >= call
    whole = [path for path in names_in(tmp_path) if path.startswith("step-")]
    if name == "rename":
        assert whole == ["step-00000002", "step-00000004"][: 1 + after]
    elif name != "rmtree":
        assert whole == ["step-00000002"]
    assert same(checkpoints.load(), checkpoint_of(int(whole[-1].removeprefix("step-"))))
    # Whatever was left behind, the next one is saved, and is the only one.
    checkpoints.save(checkpoint_of(6))
    assert names_in(tmp_path) == ["step-00000006"]
    assert same(checkpoints.load(), checkpoint_of(6))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("failure", [full_disk, control_c, killed])
def test_a_half_written_file_is_never_part_of_a_checkpoint(tmp_path, name, failure):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    checkpoints.save(checkpoint_of(2))
    true_open = Path.open

    def open_and_fail(path, *arguments, **options):
        if path.name == name:
            with true_open(path, "wb") as file:
                file.write(b"{" * 9)
            failure()
        return true_open(path, *arguments, **options)

    with ExitStack() as stack:
        if failure is killed:
            stack.enter_context(nothing_removed())
        stack.enter_context(mock.patch.object(Path, "open", open_and_fail))
        stack.enter_context(pytest.raises((OSError, KeyboardInterrupt, KilledError)))
        checkpoints.save(checkpoint_of(4))
    assert same(checkpoints.load(), checkpoint_of(2))
    assert len(names_in(tmp_path)) == (2 if failure is killed else 1)
    checkpoints.save(checkpoint_of(6))
    assert names_in(tmp_path) == ["step-00000006"]


@pytest.mark.parametrize("first", FILES)
def test_killed_while_an_older_one_is_removed(tmp_path, first):
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    checkpoints.save(checkpoint_of(2))
    with mock.patch.object(module.shutil, "rmtree", removing_only(first)), pytest.raises(KilledError):
        checkpoints.save(checkpoint_of(4))
    assert same(checkpoints.load(), checkpoint_of(4))


def removing_only(name):
    """A rmtree that is killed as soon as it has removed one file."""

    def rmtree(folder, **_):
        for path in Path(folder).rglob(name):
            path.unlink()
            killed()

    return rmtree


@pytest.mark.parametrize("first", FILES)
def test_killed_while_all_are_removed(tmp_path, first):
    # The run is done. Half a checkpoint must not block the next one.
    checkpoints = Checkpoints(tmp_path, 2, IDENTITY)
    checkpoints.save(checkpoint_of(2))
    with mock.patch.object(module.shutil, "rmtree", removing_only(first)), pytest.raises(KilledError):
        checkpoints.clear()
    assert checkpoints.load() is None


# --- training that was stopped ------------------------------------------------------------------------------

STEPS = 10
EVERY = 3
TEXT = [(i * i + i // 3) % 5 for i in range(60)]
ARCHITECTURES = {
    "embeddings": Architecture(3, hidden_dim=4),
    "gpt": Architecture(4, hidden_dim=8, heads=2, dropout=0.2),
}


class StopHereError(Exception):
    """Stops training in a test."""


def train(kind, folder=None, stop_at=None, every=EVERY, on_record=None, **others):
    """Train on the toy text until a step or to the end, perhaps with checkpoints; return weights and log."""
    usual = {"steps": STEPS, "batch_size": 4, "micro_batch": 3, "learning_rate": 0.05, "warmup": 2, "eval_every": 4}
    numbers = NetworkSettings(architecture=ARCHITECTURES[kind], context=4, **{**usual, **others})
    model = find_model(kind).model_class.build(5, numbers, 0)

    def stop(_, words):
        if words.startswith(f"step {stop_at}/"):
            raise StopHereError

    records = train_steps(
        StdlibEngine(model.network, numbers),
        TEXT,
        40,
        numbers,
        num_targets=model.num_targets,
        seed=3,
        checkpoints=None if folder is None else Checkpoints(folder, every, IDENTITY),
        on_progress=None if stop_at is None else stop,
    )
    history = []
    for record in records:
        history.append(dict(record))
        if on_record is not None:
            on_record(record)
    return b"".join(parameter.data.tobytes() for parameter in model.network.parameters()), history


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("stop_at", range(1, STEPS + 1))
def test_resumed_is_unbroken_wherever_it_was_stopped(tmp_path, kind, stop_at):
    unbroken = train(kind)
    with pytest.raises(StopHereError):
        train(kind, tmp_path / "checkpoints", stop_at)
    newest = newest_state(tmp_path / "checkpoints")
    assert (newest.step if newest else 0) == stop_at // EVERY * EVERY
    assert train(kind, tmp_path / "checkpoints") == unbroken


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("every", [1, 2, 4])
def test_resumed_is_unbroken_though_it_was_stopped_at_every_checkpoint(tmp_path, kind, every):
    for stop_at in range(every, STEPS + 1, every):
        with pytest.raises(StopHereError):
            train(kind, tmp_path / "checkpoints", stop_at, every)
    assert train(kind, tmp_path / "checkpoints") == train(kind)


OTHER_WAYS = {
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.3},
    "sgd": {"optimizer": "sgd", "schedule": "inverse-sqrt", "learning_rate": 0.3},
    "muon": {"optimizer": "muon", "learning_rate": 0.02},
    "adamw": {"schedule": "linear", "beta1": 0.5, "beta2": 0.99, "clip": 0.0},
}


@pytest.mark.parametrize("way", OTHER_WAYS)
@pytest.mark.parametrize("stop_at", [4, 6, 8])
def test_resumed_is_unbroken_whatever_the_optimizer(tmp_path, way, stop_at):
    with pytest.raises(StopHereError):
        train("gpt", tmp_path / "checkpoints", stop_at, **OTHER_WAYS[way])
    newest = newest_state(tmp_path / "checkpoints").path
    parts = {name.partition(".")[0] for name in read_safetensors(newest / FILES[1])[0]}
    of_adamw, of_others = {"first", "second"}, {"velocity"}
    assert parts == {"adamw": of_adamw, "muon": of_adamw | of_others}.get(way, of_others)
    assert train("gpt", tmp_path / "checkpoints", **OTHER_WAYS[way]) == train("gpt", **OTHER_WAYS[way])


def test_the_velocities_of_a_checkpoint_count(tmp_path):
    with pytest.raises(StopHereError):
        train("gpt", tmp_path / "checkpoints", 5, **OTHER_WAYS["momentum"])
    path = newest_state(tmp_path / "checkpoints").path / FILES[1]
    standing = {
        name: (shape, array("d", bytes(8 * len(data)))) for name, (shape, data) in read_safetensors(path)[0].items()
    }
    write_safetensors(path, standing)
    assert train("gpt", tmp_path / "checkpoints", **OTHER_WAYS["momentum"]) != train("gpt", **OTHER_WAYS["momentum"])


def test_checkpoints_change_nothing(tmp_path):
    assert train("gpt", tmp_path / "checkpoints", every=1) == train("gpt")


def test_a_caller_that_changes_its_records_changes_no_checkpoint(tmp_path):
    with pytest.raises(StopHereError):
        train("gpt", tmp_path / "checkpoints", 9, on_record=lambda record: record.update(more=1.0))
    assert train("gpt", tmp_path / "checkpoints") == train("gpt")


def test_a_run_that_is_done_is_not_trained_again(tmp_path):
    with pytest.raises(StopHereError):
        train("gpt", tmp_path / "checkpoints", STEPS, every=STEPS)
    assert names_in(tmp_path / "checkpoints") == [f"step-{STEPS:08}"]
    assert train("gpt", tmp_path / "checkpoints", stop_at=STEPS) == train("gpt")  # no step, so no stop


# --- the command line ---------------------------------------------------------------------------------------


def command(base, corpus, *options):
    return (
        *("train", "--model", "gpt", "--base-dir", base, "--corpus", corpus, "--seed", 1, "--dropout", 0.1),
        *("--context", 4, "--embedding-dim", 4, "--hidden", 4, "--heads", 2, "--layers", 1),
        *("--steps", 8, "--batch-size", 4, "--piece-size", 2, "--eval-every", 3, "--val-fraction", 0.3, *options),
    )


@contextmanager
def stopped_at(step):
    """Press Ctrl-C when training reports its nth step; None for never."""
    calls = []

    def update(*call):
        calls.append(call)
        if len(calls) == step:
            raise KeyboardInterrupt

    with mock.patch.object(Progress, "update", update):
        yield calls


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, tiny_corpus, toy_gpt, listing):
    """The paths and bytes of a run that nothing disturbed."""
    base = tmp_path_factory.mktemp("unbroken") / "run"
    assert toy_gpt(*command(base, tiny_corpus)).code == 0
    return listing(base)


@pytest.fixture(autouse=True)
def quiet():
    """On a slow machine, training says how far it is; the tests count lines."""
    with mock.patch.object(Progress, "update"):
        yield


@pytest.fixture
def base(tmp_path):
    """The folder of a run. Its name is in the metadata, so runs to compare have the same."""
    return tmp_path / "run"


@pytest.mark.parametrize("step", [1, 2, 3, 5, 6, 7, 8])
def test_artifacts_and_log_of_a_resumed_run(base, tiny_corpus, toy_gpt, listing, unbroken, step):
    with stopped_at(step):
        assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 3)).code == 130
    assert {path.split("/")[1] for path in listing(base) if "/" in path} <= {"checkpoints"}
    with stopped_at(None) as calls:
        outcome = toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 3, "--resume"))
    done = step // 3 * 3
    if done == 0:
        assert outcome.refused
        assert "there is no checkpoint, so there is nothing to resume" in outcome.err
        return
    assert (outcome.code, outcome.err) == (0, f"toy-gpt: note: resumed from step {done} of 8\n")
    assert [fraction for _, fraction, _ in calls] == [n / 8 for n in range(done + 1, 9)]
    assert listing(base) == unbroken


def test_there_is_nothing_to_resume(base, tiny_corpus, toy_gpt, listing):
    outcome = toy_gpt(*command(base, tiny_corpus, "--resume"))
    assert outcome.refused
    assert "there is nothing to resume" in outcome.err
    assert not base.exists()
    assert toy_gpt(*command(base, tiny_corpus, "--no-keep")).code == 0
    err = refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, "--resume", "--steps", 9))
    assert "there is nothing to resume" in err


def test_resume_without_further_checkpoints(base, tiny_corpus, toy_gpt, listing, unbroken):
    with stopped_at(7):
        assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 2)).code == 130
    assert toy_gpt(*command(base, tiny_corpus, "--resume")).code == 0
    assert listing(base) == unbroken


@pytest.mark.parametrize("every", [1, 2, 7, 8, 100])
def test_one_checkpoint_remains_of_a_run_that_was_written(base, tiny_corpus, toy_gpt, listing, unbroken, every):
    assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", every)).code == 0
    assert listing(base) == unbroken


def test_a_run_that_could_not_be_written_is_not_lost(base, tiny_corpus, toy_gpt, listing, unbroken):
    def no_room(*_):
        full_disk()

    with mock.patch.object(run, "write_run", no_room):
        assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 8)).failed
    with stopped_at(None) as calls:
        assert toy_gpt(*command(base, tiny_corpus, "--resume")).code == 0
    assert calls == []
    assert listing(base) == unbroken


def test_a_checkpoint_that_cannot_be_written_ends_training_in_one_line(base, tiny_corpus, toy_gpt, listing, unbroken):
    with failing_once(module, "write_safetensors", 3, full_disk, after=False):
        outcome = toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 2))
    assert outcome.failed
    assert "No space left" in outcome.err
    assert names_in(base / "outputs" / "checkpoints") == ["step-00000002"]
    assert toy_gpt(*command(base, tiny_corpus, "--resume")).code == 0
    assert listing(base) == unbroken


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, tiny_corpus, toy_gpt):
    """A run that was stopped after its fifth step, with a checkpoint of the fourth; to be copied."""
    base = tmp_path_factory.mktemp("stopped") / "run"
    with stopped_at(5):
        assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 4)).code == 130
    assert names_in(base / "outputs" / "checkpoints") == ["step-00000004"]
    return base


def refused_and_unchanged(toy_gpt, listing, base, arguments):
    """Run a command that must be refused before anything is trained or changed; returns what it said."""
    before = listing(base)
    with stopped_at(None) as calls:
        outcome = toy_gpt(*arguments)
    assert outcome.refused, outcome
    assert calls == []
    assert listing(base) == before
    return outcome.err


OTHER_RUNS = [
    (("--learning-rate", 0.5), "learning rate is 0.01, not 0.5"),
    (("--optimizer", "sgd"), 'optimizer is "adamw", not "sgd"'),
    (("--schedule", "linear"), 'schedule is "cosine", not "linear"'),
    (("--beta2", 0.5), "beta2 is 0.95, not 0.5"),
    (("--clip", 0), "clip is 1.0, not 0.0"),
    (("--seed", 2), "seed is 1, not 2"),
    (("--model", "llama"), 'model is "gpt", not "llama"'),
    (("--embedding-dim", 8), "embedding dim is 4, not 8"),
    (("--hidden", 8), "hidden dim is 4, not 8"),
    (("--heads", 1), "heads is 2, not 1"),
    (("--layers", 2), "layers is 1, not 2"),
    (("--dropout", 0.2), "dropout is 0.1, not 0.2"),
    (("--context", 3), "context is 4, not 3"),
    (("--tokenizer", "char"), 'tokenizer is "word", not "char"'),
    (("--val-fraction", 0.2), "held-out share is 0.3, not 0.2"),
    (("--batch-size", 3), "batch size is 4, not 3"),
    (("--piece-size", 4), "micro batch is 2, not 4"),
    (("--weight-decay", 0.5), "weight decay is 0.1, not 0.5"),
    (("--clip", 2), "clip is 1.0, not 2.0"),
]


@pytest.mark.parametrize(("options", "said"), OTHER_RUNS, ids=[options[0] for options, _ in OTHER_RUNS])
def test_resuming_another_run_is_refused(base, stopped, tiny_corpus, toy_gpt, listing, options, said):
    shutil.copytree(stopped, base)
    err = refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, "--resume", *options))
    assert f"this checkpoint is of another run: its {said}" in err


def test_resuming_with_another_text_is_refused(base, stopped, tmp_path, tiny_corpus, toy_gpt, listing):
    shutil.copytree(stopped, base)
    corpus = tmp_path / tiny_corpus.name
    corpus.write_text(tiny_corpus.read_text(encoding="utf-8").replace("a cat runs", "a dog runs"), encoding="utf-8")
    err = refused_and_unchanged(toy_gpt, listing, base, command(base, corpus, "--resume"))
    assert "this checkpoint is of another run: its corpus is" in err
    # The same text elsewhere is the same text.
    corpus.write_bytes(tiny_corpus.read_bytes())
    assert toy_gpt(*command(base, corpus, "--resume")).code == 0


def test_resuming_with_other_merges_is_refused(base, tmp_path, toy_gpt, listing):
    corpus = tmp_path / "text.txt"
    corpus.write_text("ab ac ab ac ab ac ab ac ab ac ab ac ab ac ab ac ab ac ad", encoding="utf-8")
    options = ("--tokenizer", "bpe", "--checkpoint-every", 4, "--val-fraction", 0)
    with stopped_at(5):
        assert toy_gpt(*command(base, corpus, *options, "--bpe-vocab", 258)).code == 130
    arguments = command(base, corpus, *options, "--bpe-vocab", 259, "--resume")
    err = refused_and_unchanged(toy_gpt, listing, base, arguments)
    assert "this checkpoint is of another run: its vocabulary is 258, not 259" in err


def test_a_checkpoint_is_not_overwritten_by_accident(base, stopped, tiny_corpus, toy_gpt, listing):
    shutil.copytree(stopped, base)
    err = refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, "--checkpoint-every", 2))
    assert "step-00000004" in err
    assert "--resume" in err


@pytest.mark.parametrize("every", [-1, -100])
def test_a_negative_distance_between_checkpoints_is_refused(base, tiny_corpus, toy_gpt, every):
    outcome = toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", every))
    assert outcome.refused
    assert not base.exists()


# --- more steps ---------------------------------------------------------------------------------------------


def log_of(base):
    """The steps of the log, and its learning rates."""
    names, *rows = [line.split(",") for line in (base / "outputs" / "train_log.csv").read_text("utf-8").splitlines()]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return [int(step) for step in columns["step"]], [float(rate) for rate in columns["learning_rate"]]


def training_of(base):
    return json.loads((base / "artifacts" / "00_meta.json").read_text("utf-8"))["training"]


def without_steps(arguments):
    """A command that leaves the number of steps to the run that is resumed."""
    at = arguments.index("--steps")
    return *arguments[:at], *arguments[at + 2 :]


@pytest.mark.parametrize("more", [("--steps", 20), ("--more-steps", 12)])
def test_a_finished_run_gets_more_steps(base, tmp_path, tiny_corpus, toy_gpt, listing, more):
    plain = without_steps(command(base, tiny_corpus, "--warmup", 2))
    at = plain.index("--eval-every")
    assert toy_gpt(*plain, "--steps", 8).code == 0
    old_log = (base / "outputs" / "train_log.csv").read_text("utf-8").splitlines()
    # Warm-up and the distance of the log's lines are those of the run that is resumed.
    outcome = toy_gpt(*plain[:at], *plain[at + 2 : -2], "--resume", *more)
    assert (outcome.code, outcome.err) == (0, "toy-gpt: note: resumed from step 8 of 20\n")
    training = training_of(base)
    assert [training[name] for name in ("steps", "warmup", "eval_every", "resumed_from_step")] == [20, 2, 3, 8]
    new_log = (base / "outputs" / "train_log.csv").read_text("utf-8").splitlines()
    assert [line.rsplit(",", 2)[0] for line in new_log[:4]] == [line.rsplit(",", 2)[0] for line in old_log]
    steps, rates = log_of(base)
    assert steps == [3, 6, 8, 9, 12, 15, 18, 20]
    assert rates[2] == pytest.approx(0.001 + 0.009 * (0.5 + 0.5 * math.cos(math.pi * 5 / 6)), abs=1e-6)  # of 8
    assert rates[3] == pytest.approx(0.001 + 0.009 * (0.5 + 0.5 * math.cos(math.pi * 6 / 18)), abs=1e-6)  # of 20
    # Stopped and resumed once more, it is the same.
    again = tmp_path / "again" / "run"
    assert toy_gpt(*(again if word == base else word for word in plain), "--steps", 8).code == 0
    with stopped_at(6):
        more = ("--resume", "--checkpoint-every", 4, "--steps", 20)
        assert toy_gpt(*command(again, tiny_corpus, "--warmup", 2, *more)).code == 130
    left = without_steps(command(again, tiny_corpus, "--warmup", 2, "--resume"))
    assert toy_gpt(*left).err == "toy-gpt: note: resumed from step 12 of 20\n"
    assert without_config(listing(again)) == without_config(listing(base))


def test_a_stopped_run_gets_more_steps(base, stopped, tiny_corpus, toy_gpt, listing):
    shutil.copytree(stopped, base)
    assert "nothing to resume: step 4 of 4 is done" in refused_and_unchanged(
        toy_gpt, listing, base, command(base, tiny_corpus, "--resume", "--steps", 4)
    )
    with stopped_at(None) as calls:
        arguments = without_steps(command(base, tiny_corpus, "--resume", "--more-steps", 7))
        assert toy_gpt(*arguments).err == "toy-gpt: note: resumed from step 4 of 11\n"
    assert [fraction for _, fraction, _ in calls] == [n / 11 for n in range(5, 12)]
    assert log_of(base)[0] == [3, 6, 9, 11]
    assert training_of(base)["resumed_from_step"] == 4


def test_the_checkpoint_of_a_finished_run_is_replaced(base, stopped, tiny_corpus, toy_gpt, listing, unbroken):
    kept = base / "outputs" / "checkpoints"
    for steps in (30, 8):
        assert toy_gpt(*command(base, tiny_corpus, "--steps", steps, "--checkpoint-every", 4)).code == 0
        assert names_in(kept) == [f"step-{steps:08}"]
    assert listing(base) == unbroken
    # One that is stopped takes its place only with its first checkpoint.
    for step, left in ((2, "step-00000008"), (6, "step-00000004")):
        with stopped_at(step):
            assert toy_gpt(*command(base, tiny_corpus, "--checkpoint-every", 4)).code == 130
        assert names_in(kept) == [left]
    refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus))


def test_without_a_checkpoint_of_the_end(base, tiny_corpus, toy_gpt, listing, unbroken):
    assert toy_gpt(*command(base, tiny_corpus, "--no-keep", "--checkpoint-every", 2)).code == 0
    assert listing(base) == {path: data for path, data in unbroken.items() if "checkpoints" not in path}


def test_a_last_checkpoint_that_cannot_be_written_is_no_failure(base, tiny_corpus, toy_gpt, listing, unbroken):
    with failing_once(module, "write_safetensors", 1, full_disk, after=False):
        outcome = toy_gpt(*command(base, tiny_corpus))
    assert outcome.code == 0
    assert outcome.err == "toy-gpt: note: the last checkpoint is not kept: No space left on device\n"
    assert listing(base) == {path: data for path, data in unbroken.items() if "checkpoints" not in path}


def without_config(files):
    """The files of a run without config.toml, which has paths relative to where it lies."""
    return {name: content for name, content in files.items() if name != "outputs/config.toml"}


# --- the best weights ---------------------------------------------------------------------------------------

BEST = ("--keep", "best", "--learning-rate", 0.5, "--steps", 12, "--eval-every", 1, "--dropout", 0)


def test_the_best_weights_survive_a_stop(base, tmp_path, tiny_corpus, toy_gpt, listing):
    assert toy_gpt(*command(base, tiny_corpus, *BEST)).code == 0
    training = training_of(base)
    assert training["keep"] == "best"
    assert "kept_step" in training
    assert training["kept_step"] < 9
    for step in (training["kept_step"], training["kept_step"] + 1, 11):
        other = tmp_path / str(step) / "run"
        with stopped_at(step):
            assert toy_gpt(*command(other, tiny_corpus, *BEST, "--checkpoint-every", 1)).code == 130
        outcome = toy_gpt(*command(other, tiny_corpus, *BEST[2:], "--resume"))  # it still keeps the best
        assert outcome.err == f"toy-gpt: note: resumed from step {step} of 12\n"
        assert f"at step {training['kept_step']}; the weights of step {training['kept_step']} are kept" in outcome.out
        assert without_config(listing(other)) == without_config(listing(base))


def test_the_best_weights_from_now_on(base, tiny_corpus, toy_gpt):
    assert toy_gpt(*command(base, tiny_corpus, *BEST, "--keep", "last")).code == 0
    assert "keep" not in training_of(base)
    outcome = toy_gpt(*command(base, tiny_corpus, *BEST, "--resume", "--steps", 15))
    assert outcome.err.splitlines() == [
        "toy-gpt: note: the best weights before step 12 were not kept, so the best from there on are chosen",
        "toy-gpt: note: resumed from step 12 of 15",
    ]
    assert 12 <= training_of(base)["kept_step"] <= 15


BEST_DAMAGES = {
    "missing": lambda folder: (folder / "best.safetensors").unlink(),
    "cut": lambda folder: cut("best.safetensors", -8)(folder),
    "of another step": lambda folder: progress(best=[1, 0.5])(folder),
    "of no step": lambda folder: progress(best=[])(folder),
    "a number": lambda folder: progress(best=7)(folder),
    "of another shape": lambda folder: stored("best.safetensors", all_of(NAME, in_another_shape))(folder),
    "in 32 bits": lambda folder: stored("best.safetensors", all_of("", in_32_bits))(folder),
}


@pytest.mark.parametrize("damage", BEST_DAMAGES)
def test_damaged_best_weights_are_refused_in_one_line(base, tiny_corpus, toy_gpt, listing, damage):
    with stopped_at(6):
        assert toy_gpt(*command(base, tiny_corpus, *BEST, "--checkpoint-every", 5)).code == 130
    BEST_DAMAGES[damage](base / "outputs" / "checkpoints" / "step-00000005")
    refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, *BEST, "--resume"))


# --- hostile checkpoints ------------------------------------------------------------------------------------


def state(change):
    """A damage: change what state.json says."""

    def damage(folder):
        path = folder / "state.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def progress(**values):
    return state(lambda content: content["progress"].update(values))


def lacks(*names):
    def remove(content):
        for name in names[:-1]:
            content = content[name]
        del content[names[-1]]

    return state(remove)


def randomness(change):
    return state(lambda content: change(content["progress"]["random"]))


def number(at, value):
    return randomness(lambda known: known[1].__setitem__(at, value))


def record(change):
    return state(lambda content: change(content["progress"]["history"][0]))


def raw(content, name="state.json"):
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def stored(name, change):
    """A damage: change the tensors of a file."""

    def damage(folder):
        tensors, _ = read_safetensors(folder / name)
        change(tensors)
        write_safetensors(folder / name, tensors)

    return damage


def all_of(prefix, make):
    def change(tensors):
        tensors.update({name: make(*old) for name, old in tensors.items() if name.startswith(prefix)})

    return change


def in_32_bits(shape, data):
    return shape, array("f", data)


def in_another_shape(shape, data):
    return (1, *shape), data


def below_zero(shape, data):
    return shape, array("d", [-1.0] * len(data))


def renamed(step):
    """A damage: folder and state agree on another step."""

    def damage(folder):
        state(lambda content: content.update(step=step))(folder)
        folder.rename(folder.parent / f"step-{step:08}")

    return damage


WEIGHTS, OPTIMIZER, STATE = FILES
NAME = "output.weight"

DAMAGES = {
    "state cut": cut(STATE, 100),
    "state cut at its end": cut(STATE, -1),
    "state empty": raw(b""),
    "state no JSON": raw(b"step: 4"),
    "state no UTF-8": raw(b'{"step": "\xff"}'),
    "state a list": raw(b"[]"),
    "state null": raw(b"null"),
    "state deep": raw(b"[" * 100_000),
    "state a number too long to read": raw(b'{"step": ' + b"9" * 5000 + b"}"),
    "no identity": lacks("identity"),
    "no step": lacks("step"),
    "no progress": lacks("progress"),
    "identity a list": state(lambda content: content.update(identity=[])),
    "identity null": state(lambda content: content.update(identity=None)),
    "identity empty": state(lambda content: content.update(identity={})),
    "step of another folder": state(lambda content: content.update(step=5)),
    "step below zero": state(lambda content: content.update(step=-4)),
    "step huge": state(lambda content: content.update(step=10**400)),
    "step a fraction": state(lambda content: content.update(step=4.0)),
    "step infinite": state(lambda content: content.update(step=float("inf"))),
    "step null": state(lambda content: content.update(step=None)),
    "step a list": state(lambda content: content.update(step=[])),
    "step an object": state(lambda content: content.update(step={})),
    "step a text": state(lambda content: content.update(step="00000004")),
    "step true": renamed(True),
    "step after the last": renamed(9),
    "step far after the last": renamed(99_999_999),
    "progress a list": state(lambda content: content.update(progress=[])),
    "progress null": state(lambda content: content.update(progress=None)),
    "progress a text": state(lambda content: content.update(progress="x")),
    "no random state": lacks("progress", "random"),
    "no history": lacks("progress", "history"),
    "no batches": lacks("progress", "pending"),
    "no schedules": lacks("progress", "schedules"),
    "schedules empty": progress(schedules=[]),
    "schedules of numbers": progress(schedules=[1]),
    "schedules too short": progress(schedules=[[0, 8, 0]]),
    "schedules of texts": progress(schedules=[["0", 8, 0, 3]]),
    "schedules without an end": progress(schedules=[[0, 8, 0, 0]]),
    "schedules of another log": progress(schedules=[[0, 8, 0, 2]]),
    "schedules from later on": progress(schedules=[[1, 8, 0, 3]]),
    "schedules beyond the step": progress(schedules=[[0, 8, 0, 3], [5, 8, 0, 3]]),
    "schedules twice": progress(schedules=[[0, 8, 0, 3], [0, 8, 0, 3]]),
    "random null": progress(random=None),
    "random empty": progress(random=[]),
    "random of another version": randomness(lambda known: known.__setitem__(0, 9)),
    "random too short": randomness(lambda known: known[1].pop()),
    "random too long": randomness(lambda known: known[1].append(1)),
    "random no list": randomness(lambda known: known.__setitem__(1, 7)),
    "random with a text": number(0, "x"),
    "random with a fraction": number(0, 1.5),
    "random with null": number(0, None),
    "random with a list": number(0, []),
    "random below zero": number(0, -1),
    "random huge": number(0, 2**70),
    "random position huge": number(-1, 2**70),
    "random position after the end": number(-1, 10**6),
    "random position below zero": number(-1, -1),
    "history null": progress(history=None),
    "history a number": progress(history=5),
    "history a text": progress(history="abc"),
    "history an object": progress(history={"epoch": 1}),
    "history of numbers": progress(history=[1, 2]),
    "history of null": progress(history=[None]),
    "history of lists": progress(history=[[]]),
    "history of empty records": progress(history=[{}]),
    "history empty": progress(history=[]),
    "history of other steps": record(lambda known: known.update(step=4)),
    "history of texts": record(lambda known: known.update(avg_loss="x")),
    "history of lists of numbers": record(lambda known: known.update(epoch=[1])),
    "history of huge numbers": record(lambda known: known.update(avg_loss=10**400)),
    "history lacks a column": record(lambda known: known.pop("val_loss")),
    "history has a column too many": record(lambda known: known.update(further=1)),
    "batches null": progress(pending=None),
    "batches of numbers": progress(pending=[1]),
    "batches too short": progress(pending=[[1.0, 2]]),
    "batches of texts": progress(pending=[["a", "b", "c"]]),
    "batches of null": progress(pending=[[None, None, None]]),
    "batches all missing": progress(pending=[]),
    "batches too many": progress(pending=[[1.0, 12, 3]] * 2),
    "batches without tokens": progress(pending=[[1.0, 0, 0]]),
    "batches with more right than there are": progress(pending=[[1.0, 12, 13]]),
    "batches of huge numbers": progress(pending=[[1.0, 10**400, 1]]),
    "weights cut": cut(WEIGHTS, -8),
    "weights empty": raw(b"", WEIGHTS),
    "weights of another shape": stored(WEIGHTS, all_of(NAME, in_another_shape)),
    "weights in 32 bits": stored(WEIGHTS, all_of("", in_32_bits)),
    "one weight in 32 bits": stored(WEIGHTS, all_of(NAME, in_32_bits)),
    "weights lack one": stored(WEIGHTS, lambda tensors: tensors.pop(NAME)),
    "weights have one too many": stored(WEIGHTS, lambda tensors: tensors.update(further=tensor(1.0))),
    "weights missing": lambda folder: (folder / WEIGHTS).unlink(),
    "weights a folder": lambda folder: ((folder / WEIGHTS).unlink(), (folder / WEIGHTS).mkdir()),
    "optimizer cut": cut(OPTIMIZER, -8),
    "optimizer lacks one": stored(OPTIMIZER, lambda tensors: tensors.pop(f"second.{NAME}")),
    "optimizer of another shape": stored(OPTIMIZER, all_of(f"first.{NAME}", in_another_shape)),
    "optimizer in 32 bits": stored(OPTIMIZER, all_of("second.", in_32_bits)),
    "optimizer with squares below zero": stored(OPTIMIZER, all_of("second.", below_zero)),
    "optimizer missing": lambda folder: (folder / OPTIMIZER).unlink(),
    "state missing": lambda folder: (folder / STATE).unlink(),
    "state a folder": lambda folder: ((folder / STATE).unlink(), (folder / STATE).mkdir()),
    "a file in place of the folder": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
    "an empty folder after it": lambda folder: (folder.parent / "step-00000007").mkdir(),
    "a file after it": lambda folder: (folder.parent / "step-00000007").write_text("x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line(base, stopped, tiny_corpus, toy_gpt, listing, damage):
    shutil.copytree(stopped, base)
    DAMAGES[damage](base / "outputs" / "checkpoints" / "step-00000004")
    err = refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, "--resume"))
    assert "checkpoint" in err


SGD = ("--optimizer", "sgd", "--momentum", 0.9)
SGD_DAMAGES = {
    "cut": cut(OPTIMIZER, -8),
    "lacks one": stored(OPTIMIZER, lambda tensors: tensors.pop(f"velocity.{NAME}")),
    "of another shape": stored(OPTIMIZER, all_of("velocity.", in_another_shape)),
    "in 32 bits": stored(OPTIMIZER, all_of("velocity.", in_32_bits)),
    "AdamW's": stored(OPTIMIZER, lambda tensors: (tensors.clear(), tensors.update({f"first.{NAME}": tensor(1.0)}))),
}


@pytest.mark.parametrize("damage", SGD_DAMAGES)
def test_damaged_velocities_are_refused_in_one_line(base, tiny_corpus, toy_gpt, listing, damage):
    with stopped_at(6):
        assert toy_gpt(*command(base, tiny_corpus, *SGD, "--checkpoint-every", 4)).code == 130
    SGD_DAMAGES[damage](base / "outputs" / "checkpoints" / "step-00000004")
    refused_and_unchanged(toy_gpt, listing, base, command(base, tiny_corpus, *SGD, "--resume"))


def test_rewriting_alone_is_no_damage(base, stopped, tiny_corpus, toy_gpt, listing, unbroken):
    # A state and tensors that are read and written again, with nothing changed, are no damage.
    shutil.copytree(stopped, base)
    folder = base / "outputs" / "checkpoints" / "step-00000004"
    state(lambda content: None)(folder)
    for name in (WEIGHTS, OPTIMIZER):
        stored(name, lambda tensors: None)(folder)
    assert toy_gpt(*command(base, tiny_corpus, "--resume")).code == 0
    assert listing(base) == unbroken


# --- SIGKILL ------------------------------------------------------------------------------------------------


def newest_name(folder):
    return max((path.name for path in folder.glob("step-????????")), default="")


def newest_step(folder):
    """The step of the newest checkpoint, 0 where there is none; it must be a whole one."""
    if not newest_name(folder):
        return 0
    newest = folder / newest_name(folder)
    state = json.loads((newest / STATE).read_text(encoding="utf-8"))
    names = [set(read_safetensors(newest / name)[0]) for name in (WEIGHTS, OPTIMIZER)]
    assert names[1] == {f"{moment}.{name}" for moment in ("first", "second") for name in names[0]}
    assert newest.name == f"step-{state['step']:08}"
    return state["step"]


def ended_within(child, seconds):
    """Wait for a process to end by itself."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
def test_killed_again_and_again(tmp_path, tiny_corpus, toy_gpt, listing):
    long = ("--steps", 500, "--eval-every", 7)
    undisturbed, base = tmp_path / "undisturbed" / "run", tmp_path / "killed" / "run"
    assert toy_gpt(*command(undisturbed, tiny_corpus, *long)).code == 0
    folder = base / "outputs" / "checkpoints"
    options = map(str, command(base, tiny_corpus, *long, "--checkpoint-every", 2))
    begin = (sys.executable, "-m", "toy_gpt_train", *options)
    generator = random.Random(2024)
    steps = [0]
    for attempt in range(12):
        arguments = (*begin, "--resume") if newest_name(folder) else begin
        child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if attempt % 2:  # WHY: a slow machine must get somewhere too
            while newest_name(folder) <= f"step-{steps[-1]:08}" and child.poll() is None:
                time.sleep(0.01)
        if ended_within(child, generator.uniform(0.0 if attempt % 2 else 0.2, 0.15 if attempt % 2 else 0.6)):
            assert child.returncode == 0
            break
        child.kill()
        child.wait()
        if (base / "artifacts" / "00_meta.json").is_file():
            break  # killed after its work was done
        steps.append(newest_step(folder))
        assert steps[-1] >= steps[-2]
    newest = newest_state(folder)
    if newest is None or not newest.finished:
        arguments = begin if newest is None else (*begin, "--resume")
        subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=120)
    assert listing(base) == listing(undisturbed)
    assert len(set(steps)) >= 3  # it was resumed in the middle, more than once
