"""test_torch.py - The engine in PyTorch beside the one in the standard library: the same losses, weights and files."""

import json
from unittest import mock

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # WHY: for networks as small as these, threads only wait for each other

import toy_gpt_train as tg  # noqa: E402
from toy_gpt_train.engine import Choice  # noqa: E402
from toy_gpt_train.errors import InputError, InputWarning  # noqa: E402
from toy_gpt_train.models.architecture import Architecture  # noqa: E402
from toy_gpt_train.models.registry import LADDER, find_model  # noqa: E402
from toy_gpt_train.nn import kernels  # noqa: E402

KINDS = [*(entry.name for entry in LADDER if entry.model_class.trains_in_steps), "tied gpt", "grouped llama"]
TEXT = "the cat sees the dog . the dog sees a cat . a dog runs , and the cat runs too . " * 6
SIZE = {"context": 4, "embedding_dim": 8, "batch_size": 6, "steps": 50, "eval_every": 1, "learning_rate": 0.01}
OWN = {
    "embeddings": {"hidden_dim": 6},
    "attention": {"bias": False},
    "gpt": {"heads": 2, "hidden_dim": 8, "short_first": 0.3},
    "llama": {"heads": 2, "hidden_dim": 8, "layers": 2, "rope_base": 50.0},
    "tied gpt": {"heads": 2, "hidden_dim": 8, "tied": True},
    "grouped llama": {"heads": 4, "kv_heads": 2, "hidden_dim": 8, "tied": True},
}
IN_TORCH = {"engine": "torch", "device": "cpu"}
EXACT = {**IN_TORCH, "dtype": "float64"}


@pytest.fixture(autouse=True)
def plain_kernel():
    """The packed product rounds its factors; the plain one gives what the formula gives."""
    with mock.patch.object(kernels, "packed_matmul", kernels.plain_matmul):
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


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(("first", "then"), [({}, EXACT), (EXACT, {}), (EXACT, EXACT)], ids=["to", "from", "within"])
def test_an_engine_resumes_what_another_began(tmp_path, optimizer, first, then):
    how = {"optimizer": optimizer, "momentum": 0.5} if optimizer == "sgd" else {}
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
    assert [r["avg_loss"] for r in again.history] == pytest.approx([r["avg_loss"] for r in expected.history], rel=1e-7)


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
    with pytest.raises(InputError, match="engine means nothing to kneser-ney"):
        tg.train("kneser-ney", text=TEXT, engine="torch")
    tg.train("kneser-ney", text=TEXT, save_to=tmp_path)
    with pytest.raises(InputError, match="this model counts"):
        tg.load(tmp_path, engine="torch")
    assert tg.load(tmp_path, engine="auto").model.next_probs([0])


def test_auto_takes_pytorch_for_large_networks_only():
    assert Choice("auto").resolved(200_000) == (Choice(), "the network has at most 200,000 weights")
    assert Choice("auto").resolved(200_001)[0] == Choice("torch")
