"""test_torch.py - The engine in PyTorch beside the one in the standard library: the same losses, weights and files."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from array import array
from unittest import mock

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # WHY: for networks as small as these, threads only wait for each other

import toy_gpt_train as tg  # noqa: E402
from toy_gpt_train import cli  # noqa: E402
from toy_gpt_train.artifacts.safetensors import read_safetensors  # noqa: E402
from toy_gpt_train.engine import Choice, ranks  # noqa: E402
from toy_gpt_train.errors import InputError, InputWarning  # noqa: E402
from toy_gpt_train.models.architecture import Architecture  # noqa: E402
from toy_gpt_train.models.registry import LADDER, find_model  # noqa: E402
from toy_gpt_train.nn import kernels  # noqa: E402
from toy_gpt_train.nn.rotation import RopeScaling  # noqa: E402
from toy_gpt_train.nn.torch_network import TorchNetwork, check_dtype, enough_memory  # noqa: E402

KINDS = [
    *(entry.name for entry in LADDER if entry.model_class.trains_in_steps),
    "tied gpt",
    "grouped llama",
    "biased llama",
]
TEXT = "the cat sees the dog . the dog sees a cat . a dog runs , and the cat runs too . " * 6
SIZE = {"context": 4, "embedding_dim": 8, "batch_size": 6, "steps": 50, "eval_every": 1, "learning_rate": 0.01}
OWN = {
    "embeddings": {"hidden_dim": 6},
    "attention": {"bias": False},
    "gpt": {"heads": 2, "hidden_dim": 8, "short_first": 0.3, "burn_in": 0.5, "start_after": "."},
    "llama": {"heads": 2, "hidden_dim": 8, "layers": 2, "rope_base": 50.0},
    "tied gpt": {"heads": 2, "hidden_dim": 8, "tied": True},
    "grouped llama": {"heads": 4, "kv_heads": 2, "hidden_dim": 8, "tied": True},
    "biased llama": {"heads": 2, "hidden_dim": 8, "attention_bias": True},
}
IN_TORCH = {"engine": "torch", "device": "cpu"}
EXACT = {**IN_TORCH, "dtype": "float64"}


@pytest.fixture(autouse=True)
def plain_kernel():
    """The packed product rounds its factors; the plain one gives what the formula gives."""
    with mock.patch.object(kernels, "_packing_pays", return_value=False):
        yield


def trained(kind, **options):
    return tg.train(kind.split()[-1], text=TEXT, val_fraction=0.2, **{**SIZE, **OWN[kind], **options})


def weights_of(run):
    return [weight for parameter in run.model.network.parameters() for weight in parameter.data]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"micro_batch": 4, "clip": 0.05, "weight_decay": 0.5},
        {"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.1, "clip": 0.0},
    ],
    ids=["adamw", "accumulation and clipping", "sgd"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_agree_in_64_bits(kind, options):
    ours, theirs = trained(kind, **options), trained(kind, **EXACT, **options)
    for name in ("avg_loss", "val_loss", "grad_norm"):
        assert [r[name] for r in theirs.history] == pytest.approx([r[name] for r in ours.history], rel=1e-9)
    for name in ("accuracy", "val_accuracy", "learning_rate", "epoch", "step"):
        assert [r[name] for r in theirs.history] == [r[name] for r in ours.history]
    # WHY more than 1e-7: both are rounded to six decimals, and a value between two of them may go either way.
    assert weights_of(theirs) == pytest.approx(weights_of(ours), abs=1.1e-6)
    assert theirs.held_out.loss == pytest.approx(ours.held_out.loss, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_before_they_are_rounded_the_weights_agree_in_seven_decimals(tmp_path, kind):
    found = []
    for name, how in (("ours", {}), ("theirs", EXACT)):
        trained(kind, micro_batch=6, **how, save_to=tmp_path / name)
        tensors, _ = read_safetensors(tmp_path / name / "outputs/checkpoints/step-00000050/weights.safetensors")
        found.append({name: list(numbers) for name, (_, numbers) in tensors.items()})
    assert found[0].keys() == found[1].keys()
    for name, numbers in found[0].items():
        assert found[1][name] == pytest.approx(numbers, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_in_32_bits_the_losses_agree_in_their_first_digits(kind):
    ours, theirs = trained(kind), trained(kind, **IN_TORCH)
    losses = [r["avg_loss"] for r in theirs.history]
    assert losses == pytest.approx([r["avg_loss"] for r in ours.history], rel=1e-4)
    assert losses != [r["avg_loss"] for r in ours.history]


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_the_engines_add_the_same_to_a_variance(kind):
    size = Architecture(8, hidden_dim=8, heads=2, norm_eps=0.5)
    model = find_model(kind).model_class(5, 4, size)
    ours = model.logits([1, 2, 3])
    model.compute_with(Choice(*EXACT.values()))
    assert model.logits([1, 2, 3]) == pytest.approx(ours, abs=1e-12)


def test_what_only_imported_models_have_is_the_same_in_both_engines():
    unusual = {"head_dim": 6, "attention_bias": True, "mlp_bias": True, "rope_scaling": RopeScaling(2.0, 1.0, 4.0, 8)}
    model = find_model("llama").model_class(5, 9, Architecture(8, hidden_dim=8, heads=4, kv_heads=2, **unusual))
    draw = random.Random(0)
    for parameter in model.network.parameters():
        parameter.data = array("d", [draw.gauss(0, 1) for _ in parameter.data])
    ours = model.logits([1, 2, 3, 4, 0, 1, 2, 3, 4])
    model.compute_with(Choice(*EXACT.values()))
    assert model.logits([1, 2, 3, 4, 0, 1, 2, 3, 4]) == pytest.approx(ours, abs=1e-10)


def test_bfloat16_learns():
    history = trained("llama", **IN_TORCH, dtype="bfloat16").history
    assert history[-1]["avg_loss"] < history[0]["avg_loss"] - 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_pytorch_trained_is_one_like_any_other(tmp_path, kind):
    ours, theirs = trained(kind, save_to=tmp_path / "ours"), trained(kind, save_to=tmp_path / "theirs", **EXACT)
    names = [sorted(path.name for path in (tmp_path / who / "artifacts").iterdir()) for who in ("ours", "theirs")]
    assert names[0] == names[1]
    meta = json.loads((tmp_path / "theirs/artifacts/00_meta.json").read_text("utf-8"))
    assert (meta["training"]["engine"], meta["training"]["dtype"]) == ("torch", "float64")
    assert "engine" not in ours.meta["training"]
    # Read back, either engine predicts the same.
    by_stdlib, by_torch = tg.load(tmp_path / "theirs"), tg.load(tmp_path / "theirs", **EXACT)
    context = by_stdlib.tokenizer.encode("the dog sees a")
    assert by_torch.model.logits(context) == pytest.approx(by_stdlib.model.logits(context), abs=1e-12)
    assert by_torch.score(text=TEXT).loss == pytest.approx(by_stdlib.score(text=TEXT).loss, abs=1e-12)
    assert by_torch.generate("the dog sees a", 20, seed=4) == by_stdlib.generate("the dog sees a", 20, seed=4)
    assert theirs.next("the dog sees a", k=3)[0].token == by_stdlib.next("the dog sees a", k=3)[0].token


@pytest.mark.parametrize("kind", KINDS)
def test_muon_learns_the_same_in_both_engines(kind):
    """WHY so far apart: PyTorch orthogonalizes in 16 bits."""
    ours, theirs = (trained(kind, optimizer="muon", **engine) for engine in ({}, EXACT))
    assert [r["avg_loss"] for r in theirs.history] == pytest.approx([r["avg_loss"] for r in ours.history], rel=2e-3)
    assert ours.history[-1]["avg_loss"] < 0.9 * ours.history[0]["avg_loss"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize(("first", "then"), [({}, EXACT), (EXACT, {}), (EXACT, EXACT)], ids=["to", "from", "within"])
def test_an_engine_resumes_what_another_began(tmp_path, optimizer, first, then):
    how = {"optimizer": optimizer} | ({"momentum": 0.5} if optimizer == "sgd" else {})
    how |= {"micro_batch": 6}
    whole = trained("gpt", **how)
    trained("gpt", **{**how, "steps": 20}, **first, save_to=tmp_path)
    with pytest.warns(InputWarning, match="resumed from step 20 of 50"):
        again = trained("gpt", **how, **then, save_to=tmp_path, resume=True)
    # WHY not with ``whole``: its first steps followed another schedule of the step size.
    assert len(again.history) == len(whole.history) == 50
    trained("gpt", **{**how, "steps": 20}, save_to=tmp_path / "reference")
    with pytest.warns(InputWarning, match="resumed"):
        expected = trained("gpt", **how, save_to=tmp_path / "reference", resume=True)
    found, wanted = ([record["avg_loss"] for record in run.history] for run in (again, expected))
    assert found == pytest.approx(wanted, rel=2e-3 if optimizer == "muon" else 1e-7)


def test_who_watches_sees_the_weights_of_now():
    jobs, seen = [], []

    def weights(job):
        return [weight for parameter in job.model.network.parameters() for weight in parameter.data]

    def start(job):
        jobs.append(job)
        seen.append(weights(job))

    run = trained("gpt", **EXACT, eval_every=25, on_start=start, on_record=lambda _: seen.append(weights(jobs[0])))
    first, middle, last = seen
    assert first != middle != last
    assert last == pytest.approx(weights_of(run), abs=1e-6)  # which are rounded


def test_the_best_weights_are_kept():
    ours, theirs = trained("gpt", keep="best"), trained("gpt", keep="best", **EXACT)
    assert theirs.meta["training"]["kept_step"] == ours.meta["training"]["kept_step"]
    assert weights_of(theirs) == pytest.approx(weights_of(ours), abs=1.1e-6)


def test_dropout_can_be_repeated_and_changes_the_result():
    one, again, none = (trained("gpt", dropout=p, **IN_TORCH) for p in (0.5, 0.5, 0.0))
    assert weights_of(one) == weights_of(again) != weights_of(none)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "jax"}, "unknown engine 'jax'; there are stdlib, torch, auto"),
        ({**IN_TORCH, "dtype": "float8"}, "unknown dtype 'float8'"),
        ({"dtype": "bfloat16"}, "--device, --dtype and --compile need --engine torch"),
        ({"engine": "torch", "device": "cuda:77"}, "the device 'cuda:77' cannot be used"),
        ({"engine": "torch", "device": "moon"}, "the device 'moon' cannot be used"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        trained("gpt", **options)


def test_a_model_that_counts_has_no_network(tmp_path):
    with pytest.raises(InputError, match="engine does not apply to kneser-ney"):
        tg.train("kneser-ney", text=TEXT, engine="torch")
    tg.train("kneser-ney", text=TEXT, save_to=tmp_path)
    with pytest.raises(InputError, match="this model counts"):
        tg.load(tmp_path, engine="torch")
    assert tg.load(tmp_path, engine="auto").model.next_probs([0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_is_that_of_the_other_engine(tmp_path, capsys, kind):
    trained(kind, context=12, save_to=tmp_path)
    command = ["infer", "--base-dir", str(tmp_path), "--prompt", TEXT[:60], "--num", "3", "--explain", "--json"]
    found = []
    for engine in ("stdlib", "torch"):
        assert cli.main([*command, "--engine", engine]) == 0
        found.append(json.loads(capsys.readouterr().out)["explanation"])
    assert found[0] == found[1]


def test_auto_takes_pytorch_for_large_networks_only():
    assert Choice("auto").resolved(200_000) == (Choice(), "the network has at most 200,000 weights")
    assert Choice("auto").resolved(200_001)[0] == Choice("torch")


# --- writing: a cache, and several texts at once ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_changes_no_prediction(tmp_path, kind):
    own = {"kv_heads": 1, "tied": True} if kind == "llama" else {}
    trained(kind, context=12, **own, save_to=tmp_path)
    model = tg.load(tmp_path, **EXACT).model
    text, cache = [0, 1, 2, 3] * 5, model.new_cache()
    for length in (*range(4, 20), 3, 4, 9):  # the window fills up, slides, and begins anew; five tokens come at once
        context = text[:length] if kind != "embeddings" or length >= 12 else text[:12]
        assert model.logits(context, cache) == pytest.approx(model.logits(context), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        ("--num", "30"),
        ("--num", "30", "--repetition-penalty", "1.5", "--temperature", "1.2", "--show-steps"),
        ("--num", "30", "--stop", "dog", "cat"),
    ],
)
def test_several_texts_at_once_are_those_written_one_by_one(tmp_path, capsys, kind, options):
    trained(kind, context=12, save_to=tmp_path)
    command = ["infer", "--base-dir", str(tmp_path), "--prompt", TEXT[:60], "--num-samples", "4", *options, "--json"]
    assert cli.main(command) == 0
    one_by_one = json.loads(capsys.readouterr().out)
    assert cli.main([*command, "--engine", "torch", "--device", "cpu", "--dtype", "float64"]) == 0
    together = json.loads(capsys.readouterr().out)
    for ours, theirs in zip(one_by_one["samples"], together["samples"], strict=True):
        assert {**theirs, "steps": 0} == {**ours, "steps": 0}
    assert len({sample["text"] for sample in together["samples"]}) > 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own
def test_a_translated_network_computes_the_same(tmp_path):
    trained("llama", save_to=tmp_path)
    plain, translated = (tg.load(tmp_path, **EXACT, compile=how).model for how in (False, True))
    assert translated.logits([0, 1, 2]) == pytest.approx(plain.logits([0, 1, 2]), abs=1e-12)


def test_large_sizes_and_the_preset_of_nanogpt_train_on_a_processor(tmp_path, corpus_file):
    short = ["--steps", "2", "--batch-size", "2", "--device", "cpu", "--corpus", str(corpus_file), "--context", "16"]
    for number, how in enumerate((["--preset", "nanogpt-char"], ["--model", "llama", "--size", "large"])):
        folder = tmp_path / str(number)
        engine = ["--engine", "torch", "--tokenizer", "char", "--val-fraction", "0.1"]
        assert cli.main(["train", *how, *engine, *short, "--base-dir", str(folder)]) == 0
        architecture = tg.load(folder).meta["architecture"]
        sizes = [architecture[name] for name in ("embedding_dim", "layers", "heads", "dropout")]
        assert sizes == ([384, 6, 6, 0.2] if number == 0 else [128, 4, 4, 0.0])


# --- several processes --------------------------------------------------------------------------------------

COMMAND = (
    *("train", "--engine", "torch", "--device", "cpu", "--dtype", "float64", "--val-fraction", "0.1"),
    *("--tokenizer", "char", "--batch-size", "8", "--context", "8", "--embedding-dim", "8"),
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


@pytest.fixture
def corpus_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 2, "utf-8")
    return path


def torchrun(number, *arguments, restarts=0, wait=True):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    command = [*launch, "--max-restarts", str(restarts), "-m", "toy_gpt_train", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
    return process.communicate(timeout=100)[0] if wait else process


def told(output):
    return [line for line in output.splitlines() if line.startswith("toy-gpt:")]


@pytest.mark.parametrize(
    ("kind", "numbers", "options"),
    [
        ("llama", (1, 2, 4), ("--heads", 2, "--layers", 2, "--piece-size", 4, "--clip", 0.1, "--short-first", 0.5)),
        ("embeddings", (1, 2), ("--keep", "best")),
    ],
)
def test_several_processes_train_the_same(tmp_path, corpus_file, kind, numbers, options):
    how = (*COMMAND, "--model", kind, "--corpus", corpus_file, "--steps", 12, "--eval-every", 3, *options, "--base-dir")
    logs = []
    for number in numbers:
        output = torchrun(number, *how, tmp_path / str(number))
        assert "wrote" in output, output
        logs.append(tg.load(tmp_path / str(number)).history)
    for log in logs[1:]:
        for one, other in zip(logs[0], log, strict=True):
            assert other == pytest.approx(one, rel=1e-6)
    one, *others = (tg.load(tmp_path / str(number)).meta["metrics"] for number in numbers)
    for other in others:
        assert other == pytest.approx(one, rel=1e-6)


def kill_one_after(folder, step):
    """Kill the youngest process that trains, as soon as there is a checkpoint of a step or a later one."""
    for _ in range(400):
        time.sleep(0.1)
        if any(int(path.name[5:]) >= step for path in folder.glob("outputs/checkpoints/step-*")):
            break
    subprocess.run(["pkill", "-9", "-n", "-f", f"toy_gpt_train train.*{folder}"], check=True)


def test_a_killed_process_ends_all_and_a_restart_goes_on(tmp_path, corpus_file):
    how = (*COMMAND, "--model", "gpt", "--corpus", corpus_file, "--checkpoint-every", 30, "--steps", 800, "--base-dir")
    for name, restarts in (("ends", 0), ("again", 1)):
        folder = tmp_path / name
        process = torchrun(2, *how, folder, restarts=restarts, wait=False)
        kill_one_after(folder, 60)
        output = process.communicate(timeout=100)[0]
        lines = told(output)
        if restarts:
            assert process.returncode == 0, output
            assert any("resumed from step" in line for line in lines)
        else:
            assert process.returncode != 0
            assert len(lines) <= 1  # none where it was the one that tells
            assert not (folder / "artifacts").exists()
    torchrun(2, *how, tmp_path / "whole")
    assert tg.load(tmp_path / "again").history == tg.load(tmp_path / "whole").history


def test_processes_that_see_different_files_are_refused(tmp_path, corpus_file):
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("runs", "eats"), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank, path in enumerate((corpus_file, other)):
        of_torchrun = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0"}
        environment = {**ENVIRONMENT, **of_torchrun, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        how = [*COMMAND, "--model", "gpt", "--corpus", str(path), "--base-dir", str(tmp_path / "run")]
        command = [sys.executable, "-m", "toy_gpt_train", *how]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert "rank 1 has another corpus than rank 0" in errors[1]
    assert "another of the 2 processes has ended" in errors[0]
    assert [process.returncode for process in processes] == [2, 2]
    assert not (tmp_path / "run" / "artifacts").exists()


@pytest.mark.parametrize(
    ("number", "command", "words"),
    [
        (3, (*COMMAND, "--model", "gpt"), "3 processes cannot share 8 windows evenly: choose --batch-size"),
        (2, (*COMMAND, "--model", "gpt", "--piece-size", 1), "2 processes cannot share 1 windows evenly"),
        (2, ("train", "--model", "gpt"), "torchrun has started 2 processes, and only --engine torch"),
        (2, ("evaluate", "--text", "x"), "only toy-gpt train can use more than one"),
    ],
)
def test_what_several_processes_cannot_do_is_said_once(tmp_path, number, command, words):
    (line,) = told(torchrun(number, *command, "--base-dir", tmp_path / "run"))
    assert words in line
    assert not (tmp_path / "run" / "artifacts").exists()


@pytest.mark.parametrize(("name", "value"), [("RANK", "x"), ("RANK", "2"), ("WORLD_SIZE", "-1"), ("LOCAL_RANK", "-1")])
def test_numbers_that_torchrun_never_gives_are_refused(monkeypatch, name, value):
    given = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0", "MASTER_ADDR": "a"}
    for key, number in {**given, name: value}.items():
        monkeypatch.setenv(key, number)
    with pytest.raises(InputError, match="the numbers that torchrun gives make no sense"):
        ranks()


# --- a machine that cannot ----------------------------------------------------------------------------------


def test_where_memory_ends_one_line_says_what_to_lower():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):
        with (
            mock.patch.object(TorchNetwork, "logits", side_effect=error),
            pytest.raises(InputError, match="lower --batch"),
        ):
            trained("gpt", **IN_TORCH)
    with pytest.raises(RuntimeError, match="another"), enough_memory(torch.device("cpu")):
        raise RuntimeError("another")


def test_a_pytorch_that_is_too_old_is_refused():
    too_old = pytest.raises(InputError, match=r"needs PyTorch 2\.9 or newer; 2\.8\.1\+cpu is installed")
    with mock.patch("importlib.metadata.version", return_value="2.8.1+cpu"), too_old:
        trained("gpt", **IN_TORCH)
    with mock.patch("importlib.metadata.version", return_value="3.0"):
        assert Choice("torch").checked()


def test_numbers_that_a_device_lacks_are_refused():
    with pytest.raises(InputError, match="'mps' has no float64"):
        check_dtype("float64", torch.device("mps"))
    with mock.patch("torch.cuda.is_bf16_supported", return_value=False), pytest.raises(InputError, match="no bfloat16"):
        check_dtype("bfloat16", torch.device("cuda"))
    check_dtype("bfloat16", torch.device("cpu"))
