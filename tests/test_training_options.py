"""How networks learn, as options: what each one does, what is refused, what files say, and the presets."""

import json
import math
import time
import tomllib

import pytest

import toy_gpt_train as tg
from toy_gpt_train.artifacts import checkpoints
from toy_gpt_train.cli import build_parser
from toy_gpt_train.cli.config import PRESETS
from toy_gpt_train.cli.train import train_arguments
from toy_gpt_train.errors import InputError
from toy_gpt_train.job import Job
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.sizes import NetworkSettings

TEXT = "the cat sees the dog . the dog sees the cat . a cat runs . " * 12
SMALL = {"context": 3, "embedding_dim": 4, "steps": 6, "batch_size": 4, "eval_every": 1}
CONSTANT = {"schedule": "constant"}


def train(model="embeddings", **options):
    return tg.train(model, text=TEXT, **{**SMALL, **options})


def rates_of(**options):
    return [record["learning_rate"] for record in train(learning_rate=0.5, **options).history]


# --- each option does what it says --------------------------------------------------------------------------


def test_schedules_reach_the_log():
    assert rates_of(schedule="constant") == [0.5] * 6
    assert rates_of(schedule="constant", warmup=2) == [0.0, 0.25, 0.5, 0.5, 0.5, 0.5]
    assert rates_of(schedule="inverse-sqrt") == pytest.approx([0.5 / math.sqrt(t) for t in range(1, 7)], rel=1e-15)
    falling = [0.5 - 0.4 * t / 6 for t in range(6)]
    assert rates_of(schedule="linear", last_rate=0.2, warmup=0) == pytest.approx(falling, rel=1e-12)
    half = [0.05 + 0.45 * (1 + math.cos(math.pi * t / 6)) / 2 for t in range(6)]
    assert rates_of(warmup=0) == pytest.approx(half, rel=1e-12)
    assert rates_of(schedule="cosine", warmup=0, last_rate=1.0) == pytest.approx([0.5] * 6, rel=1e-12)


def test_warmup_follows_the_schedule():
    def warmup_of(**numbers):
        return Job("gpt", None, 0, {"steps": 400, **numbers}).settings.warmup

    assert [warmup_of(schedule=name) for name in ("cosine", "linear", "constant", "inverse-sqrt")] == [20, 20, 0, 0]
    assert warmup_of(schedule="constant", warmup=3) == 3


def weights_after(**options):
    run = train(**CONSTANT, **options)
    return [weight for parameter in run.model.network.parameters() for weight in parameter.data]


def test_sgd_steps_against_the_gradient():
    # Without momentum, a step is the step size times the clipped gradient: its length is at most 0.5 * 0.25.
    start = weights_after(optimizer="sgd", steps=1, learning_rate=1e-9)
    one = weights_after(optimizer="sgd", steps=1, learning_rate=0.5, clip=0.25)
    assert math.dist(start, one) == pytest.approx(0.5 * 0.25, rel=1e-4)
    # With momentum, the second step has 0.9 of the first in it.
    plain = weights_after(optimizer="sgd", steps=2, learning_rate=0.5, clip=0.25)
    heavy = weights_after(optimizer="sgd", steps=2, learning_rate=0.5, clip=0.25, momentum=0.9)
    more = [b - a for a, b in zip(plain, heavy, strict=True)]
    first = [b - a for a, b in zip(start, one, strict=True)]
    assert more == pytest.approx([0.9 * step for step in first], abs=5e-6)


def test_no_clipping():
    clipped, free = (train(optimizer="sgd", learning_rate=0.5, clip=clip, **CONSTANT) for clip in (0.01, 0.0))
    large = train(optimizer="sgd", learning_rate=0.5, clip=1e9, **CONSTANT)
    assert free.history == large.history != clipped.history
    assert min(record["grad_norm"] for record in free.history) > 0.01


def test_betas_of_adamw():
    # With beta1 = 0 and beta2 = 0 every step is the step size, whatever the gradient: plus or minus 0.01.
    start, one = (weights_after(steps=1, beta1=0, beta2=0, learning_rate=lr, weight_decay=0) for lr in (1e-9, 0.01))
    moved = {round(abs(b - a), 4) for a, b in zip(start, one, strict=True)}
    assert moved <= {0.0, 0.01}
    assert 0.01 in moved
    assert weights_after(beta1=0.5) != weights_after() != weights_after(beta2=0.5)


@pytest.mark.parametrize(("model", "expected"), [("embeddings", 1024), ("attention", 341), ("gpt", 341)])
def test_how_many_windows_are_evaluated(model, expected):
    assert Job(model, 3, 0, {}).settings.eval_windows == expected
    windows = {}
    for number in (1, 2, 10**6):
        windows[number] = train(model, val_fraction=0.5, eval_windows=number, steps=1).history[-1]["val_loss"]
    assert len(set(windows.values())) == 3


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"momentum": 0.9}, "--momentum does not apply to adamw"),
        ({"momentum": 0.0}, "--momentum does not apply to adamw"),
        ({"optimizer": "adamw", "momentum": 0.5}, "--momentum does not apply to adamw"),
        ({"optimizer": "sgd", "beta1": 0.9}, "--beta1 does not apply to sgd"),
        ({"optimizer": "sgd", "beta2": 0.9}, "--beta2 does not apply to sgd"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "--weight-decay does not apply to sgd"),
        ({"schedule": "constant", "last_rate": 0.1}, "--last-rate does not apply to constant"),
        ({"schedule": "inverse-sqrt", "last_rate": 0.1}, "--last-rate does not apply to inverse-sqrt"),
        ({"optimizer": "muon", "momentum": 0.9}, "--momentum does not apply to muon"),
        (
            {"optimizer": "muon", "weight_decay": 2.0, "learning_rate": 1.0},
            "the learning rate times the weight decay must be from 0 to 1, got 1 and 2",
        ),
        ({"optimizer": "adam"}, "optimizer must be adamw, muon or sgd, got 'adam'"),
        ({"schedule": "step"}, "schedule must be cosine, linear, constant or inverse-sqrt, got 'step'"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"beta1": -0.1}, "beta1 must be at least 0 and below 1, got -0.1"),
        ({"beta2": math.nan}, "beta2 must be at least 0 and below 1, got nan"),
        ({"last_rate": 1.5}, "the last rate is a share of the learning rate, from 0 to 1, got 1.5"),
        ({"eval_windows": 0}, "the eval windows must be at least 1, got 0"),
        ({"clip": math.inf}, "clip must be from 0 (none) to 1e+09, got inf"),
    ],
)
def test_options_that_mean_nothing_or_make_no_sense(options, said):
    with pytest.raises(InputError) as refusal:
        Job("gpt", None, 0, options)
    assert str(refusal.value) == said


def test_sgd_takes_any_learning_rate_to_1000():
    assert Job("gpt", None, 0, {"optimizer": "sgd", "learning_rate": 50.0}).settings.learning_rate == 50.0


def test_an_evaluation_larger_than_memory_is_refused():
    with pytest.raises(InputError, match=r"the evaluation would have 68,000,000,000 tokens; the limit is 16,777,216"):
        train("gpt", context=16, eval_windows=4_000_000_000)


def test_diverging_sgd_ends_in_one_line(tmp_path, toy_gpt, listing, tiny_corpus):
    options = ("--optimizer", "sgd", "--learning-rate", 1000, "--clip", 0, "--momentum", 0.99, "--schedule", "constant")
    size = ("--context", 4, "--embedding-dim", 4, "--heads", 2, "--steps", 60, "--batch-size", 4)
    before = listing(tmp_path)
    outcome = toy_gpt("train", "--model", "gpt", "--corpus", tiny_corpus, "--base-dir", tmp_path, *size, *options)
    assert outcome.failed
    assert listing(tmp_path) == before


# --- what the files say -------------------------------------------------------------------------------------


def test_the_metadata_hold_the_numbers_that_mean_something():
    adamw = train(beta1=0.8, last_rate=0.25, eval_windows=9).meta["training"]
    assert {"beta1": 0.8, "beta2": 0.95, "optimizer": "adamw", "schedule": "cosine"}.items() <= adamw.items()
    assert (adamw["last_rate"], adamw["eval_windows"], "momentum" in adamw) == (0.25, 9, False)
    sgd = train(optimizer="sgd", momentum=0.5, schedule="constant", clip=0).meta["training"]
    assert (sgd["optimizer"], sgd["momentum"], sgd["schedule"], sgd["clip"]) == ("sgd", 0.5, "constant", 0)
    assert not {"beta1", "beta2", "weight_decay", "last_rate"} & sgd.keys()


@pytest.mark.parametrize("model", ["embeddings", "attention"])
def test_no_bias(tmp_path, model):
    run = train(model, bias=False, save_to=tmp_path)
    names = {path.name for path in run.paths}
    assert "26_output_bias.csv" not in names
    assert run.model.num_parameters() == train(model).model.num_parameters() - run.model.vocab_size
    loaded = tg.load(tmp_path)
    assert loaded.model.architecture.bias is False
    prompt = loaded.tokenizer.encode("the cat sees")
    assert loaded.model.logits(prompt) == run.model.logits(prompt)
    # What is written is all there is: logits are the last vector times 02_model_weights.csv, so 0 gives 0.
    assert set(loaded.model.logit_lens(prompt)[0].logits) == {0.0}


@pytest.mark.parametrize("model", ["gpt", "llama", "bigram"])
def test_no_bias_means_nothing_to_others(model, toy_gpt, tmp_path):
    outcome = toy_gpt("train", "--model", model, "--no-bias", "--base-dir", tmp_path)
    assert outcome.err == f"toy-gpt: error: --no-bias does not apply to {model}\n"
    with pytest.raises(InputError, match=f"bias does not apply to {model}"):
        tg.train(model, text=TEXT, bias=False)


@pytest.mark.parametrize("model", ["embeddings", "attention", "gpt"])
def test_files_from_before_these_options_are_read(tmp_path, model):
    run = train(model, save_to=tmp_path, **({"heads": 2} if model == "gpt" else {}))
    path = tmp_path / "artifacts" / "00_meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    del meta["architecture"]["bias"], meta["architecture"]["rope_base"]
    for name in ("optimizer", "beta1", "beta2", "schedule", "last_rate", "eval_windows"):
        del meta["training"][name]
    path.write_text(json.dumps(meta), encoding="utf-8")
    prompt = run.tokenizer.encode("the cat sees")
    assert tg.load(tmp_path).model.logits(prompt) == run.model.logits(prompt)


@pytest.mark.parametrize("bias", [1, 0, None, "true"])
def test_a_bias_that_is_neither_true_nor_false_is_refused(bias):
    with pytest.raises(InputError, match="bias of the architecture is not of type bool"):
        Architecture.from_mapping(
            {"embedding_dim": 8, "hidden_dim": 32, "heads": 2, "layers": 1, "dropout": 0.0, "bias": bias}
        )


# --- presets ------------------------------------------------------------------------------------------------


def job_of(*typed):
    arguments = train_arguments(build_parser().parse_args(["train", "--base-dir", "nowhere", *typed]))
    known = ("model", "corpus", "save_to", "tokens", "val_tokens", "tokenizer", "special", "bpe_vocab", "val_fraction")
    others = {name: arguments.pop(name) for name in known}
    return Job(others["model"], arguments.pop("context"), arguments.pop("seed"), arguments), others


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_preset_is_a_training_run(preset):
    declared = tomllib.loads(preset.read_text("utf-8"))
    job, _ = job_of("--preset", preset.stem, "--engine", "stdlib")
    found = job.settings.steps, job.settings.context, job.settings.optimizer
    assert found == (declared["steps"], declared["context"], declared.get("optimizer", "adamw"))


def test_the_preset_of_toy_gpt_char():
    job, others = job_of("--preset", "toy-gpt-char")
    assert (job.entry.name, job.seed, others["tokenizer"], others["val_fraction"]) == ("gpt", 1337, "char", 0.1)
    assert job.settings == NetworkSettings(
        architecture=Architecture(384, hidden_dim=1536, heads=6, layers=4, dropout=0.2),
        context=16,
        batch_size=32,
        micro_batch=8,
        steps=5100,
        learning_rate=1e-3,
        schedule="constant",
        warmup=0,
        optimizer="adamw",
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.01,
        clip=0.0,
        eval_every=300,
        eval_windows=200,
    )


def test_what_is_typed_wins_over_a_preset():
    typed = ("--steps", "7", "--layers", "2", "--seed", "5", "--tokenizer", "word", "--clip", "1", "--beta2", "0.5")
    preset = ("--preset", "toy-gpt-char")
    for arguments in ((*typed, *preset), (*preset, *typed)):
        job, others = job_of(*arguments)
        found = job.settings
        assert (found.steps, found.architecture.layers, job.seed, others["tokenizer"]) == (7, 2, 5, "word")
        assert (found.clip, found.beta2, found.architecture.embedding_dim, found.eval_every) == (1.0, 0.5, 384, 300)


# --- checkpoints that nobody asked for ----------------------------------------------------------------------


def stopping_at(step):
    def on_progress(_, words):
        if words.startswith(f"step {step}/"):
            raise KeyboardInterrupt

    return on_progress


def test_a_run_of_more_than_a_minute_can_be_resumed(tmp_path, monkeypatch, listing):
    run = train(save_to=tmp_path / "whole" / "run", name="x")
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(save_to=tmp_path / "stopped" / "run", name="x", progress=stopping_at(4))
    assert [path.name for path in (tmp_path / "stopped" / "run").rglob("step-*")] == ["step-00000004"]
    with pytest.warns(match="resumed from step 4 of 6"):
        resumed = train(save_to=tmp_path / "stopped" / "run", name="x", resume=True)
    assert resumed.history == run.history
    assert listing(tmp_path / "stopped" / "run") == listing(tmp_path / "whole" / "run")


@pytest.mark.parametrize("every", [None, 0])
def test_a_short_run_and_one_without_checkpoints_leave_none(tmp_path, monkeypatch, every):
    if every == 0:
        monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(save_to=tmp_path, progress=stopping_at(4), checkpoint_every=every)
    assert not list(tmp_path.rglob("step-*"))


def test_a_checkpoint_a_minute(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = checkpoints.Checkpoints(tmp_path, None, {})
    due = []
    for step in range(1, 200):
        now[0] += 1.0
        if kept.is_due(step):
            due.append(step)
            kept.save(checkpoints.Checkpoint(step, {}, {}, {}))
    assert due == [60, 120, 180]
