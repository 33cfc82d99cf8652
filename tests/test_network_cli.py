"""test_network_cli.py - The networks on the command line: train, infer, evaluate, chat, --explain."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train as tg
from toy_gpt_train.inference.sampling import top_k
from toy_gpt_train.math_training import softmax
from toy_gpt_train.models.architecture import SIZE_NAMES
from toy_gpt_train.models.registry import LADDER, find_model
from toy_gpt_train.models.sizes import SIZES
from toy_gpt_train.nn.transformer import TransformerLM

ToyGpt = Callable[..., Any]

NETWORKS = ("embeddings", "attention", "gpt", "llama")
TEXT = "the cat sees the dog . a dog runs to the cat . the dog sees a bird and sits . the bird sees the cat ."
SMALL = {
    "embeddings": ("--embedding-dim", 4, "--hidden", 6),
    "attention": ("--embedding-dim", 4),
    "gpt": ("--embedding-dim", 4, "--hidden", 6, "--heads", 2, "--layers", 2, "--dropout", 0.1),
    "llama": ("--embedding-dim", 4, "--hidden", 6, "--heads", 2, "--layers", 2),
}
NETWORK_OPTIONS = (
    *("--size", "--embedding-dim", "--hidden", "--heads", "--layers", "--dropout", "--steps", "--batch-size"),
    *("--piece-size", "--warmup", "--weight-decay", "--clip", "--eval-every"),
    *("--keep", "--workers", "--checkpoint-every", "--no-keep", "--resume", "--more-steps"),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "tiny.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def few_steps(kind: str, corpus: Path, base: Path) -> tuple[object, ...]:
    """The arguments of a training run that takes no time: N = 3, four steps, two lines of the log."""
    steps = ("--steps", 4, "--batch-size", 4, "--eval-every", 2, "--context", 3)
    return ("train", "--model", kind, "--corpus", corpus, "--base-dir", base, *steps, *SMALL[kind])


@pytest.fixture(scope="module")
def base_of(toy_gpt: ToyGpt, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``base_of("gpt")`` gives the base folder of a run, trained once; only to be read."""
    known: dict[str, Path] = {}

    def once(kind: str) -> Path:
        if kind not in known:
            base = tmp_path_factory.mktemp(kind)
            argv = few_steps(kind, corpus, base) if kind in SMALL else (
                "train", "--model", kind, "--corpus", corpus, "--base-dir", base
            )  # fmt: skip
            outcome = toy_gpt(*argv)
            assert outcome.code == 0, outcome.err
            known[kind] = base
        return known[kind]

    return once


@pytest.fixture
def refuse(toy_gpt: ToyGpt, listing: Callable[[Path], Any], tmp_path: Path) -> Callable[..., str]:
    """``refuse("train", "--steps", 0)`` asserts exit code 2, one line, nothing written; gives the line."""

    def check(command: str, *options: object, base: Path = tmp_path) -> str:
        before = listing(base)
        outcome = toy_gpt(command, *options, "--base-dir", base)
        assert outcome.refused, outcome
        assert "Traceback" not in outcome.err
        assert listing(base) == before
        message: str = outcome.err
        return message

    return check


def strict_json(text: str) -> Any:
    """Parse one JSON object on one line; NaN and Infinity are no JSON."""

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=no_constant)


# --- train ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
def test_train_prints_the_log_and_the_figures(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, kind: str) -> None:
    outcome = toy_gpt(*few_steps(kind, corpus, tmp_path), "--val-fraction", 0.2)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == f"model     {kind}: {find_model(kind).adds}"
    assert lines[1] == "corpus    tiny.txt: 21 training tokens (word), 11 different; 6 more are held out"
    metrics, weights = tg.load(tmp_path).meta["metrics"], tg.load(tmp_path).model.num_parameters()
    # A window of embeddings has one prediction, one of the others N = 3.
    predictions, per_epoch = (4, "5.2") if kind == "embeddings" else (12, "1.8")
    assert lines[2] == (
        f"plan      4 steps of {predictions} predictions each; an epoch, as many predictions as training tokens, "
        f"is {per_epoch} steps"
    )
    assert lines[3] == f"          looking back 3 tokens; {weights:,} weights"
    header = lines[4].split()
    assert header == ["step", "epoch", "avg_loss", "accuracy", "val_loss", "val_accuracy"]
    rows = [dict(zip(header, line.split(), strict=True)) for line in lines[5:7]]
    assert [row["step"] for row in rows] == ["2", "4"]
    log = [line.split(",") for line in (tmp_path / "outputs/train_log.csv").read_text("utf-8").splitlines()]
    for row, (found, cells) in zip(rows, ((log[0], log[1]), (log[0], log[2])), strict=True):
        written = dict(zip(found, map(float, cells), strict=True))
        assert row["avg_loss"] == f"{written['avg_loss']:.4f}"
        assert row["val_loss"] == f"{written['val_loss']:.4f}"
    assert f"train loss {metrics['train_loss']:.4f} nats" in lines[7]
    assert f"on the end of the training text; {metrics['train_accuracy']:.0%} of" in lines[7]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    # 6 of 27 tokens were held out; a network does not record which contexts it has seen.
    scored = lines.index("6 tokens scored")
    assert lines[scored - 1] == f"          best held-out loss {float(best['val_loss']):.4f} at step {best['step']}"
    assert f"{kind} on the held-out part" in lines[scored + 2]
    assert f"{metrics['val_loss']:.4f}" in lines[scored + 2]
    assert "never seen" not in outcome.out
    num_files = len(list((tmp_path / "artifacts").iterdir())) + 1  # and the log
    assert lines[-2].startswith(f"learned   {weights:,} numbers in ")
    assert lines[-1] == f"wrote     {num_files} files to {tmp_path / 'artifacts'} and {tmp_path / 'outputs'}"
    # The files keep their columns; a newcomer needs neither those nor the tables' words.
    assert {"above_floor", "learning_rate", "grad_norm"} <= set(log[0])
    assert not [word for word in ("table", "floor", "rows", "explode", "learning_rate") if word in outcome.out]


@pytest.mark.parametrize("kind", NETWORKS)
def test_train_json(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, kind: str) -> None:
    outcome = toy_gpt(*few_steps(kind, corpus, tmp_path), "--json", "--val-fraction", 0.2)
    assert (outcome.code, outcome.err) == (0, "")
    figures = strict_json(outcome.out)
    run = tg.load(tmp_path)
    assert (figures["model"], figures["tokens"]) == (kind, 6)
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert round(figures[name], 6) == run.meta["metrics"][name]
    assert round(figures["loss_floor"], 6) == run.meta["loss_floor"]
    assert figures["perplexity"] == pytest.approx(math.exp(figures["val_loss"]))
    assert figures["bits_per_token"] == pytest.approx(figures["val_loss"] / math.log(2))
    held_out = " ".join(TEXT.split()[21:])
    assert figures["bits_per_byte"] == pytest.approx(figures["bits_per_token"] * 6 / len(held_out))
    assert figures["unseen_context_share"] is None
    assert figures["parameters"] == run.model.num_parameters()
    assert isinstance(figures["train_seconds"], float)
    assert isinstance(figures["evaluate_seconds"], float)
    figures = strict_json(toy_gpt(*few_steps(kind, corpus, tmp_path), "--json").out)
    for name in ("tokens", "val_loss", "val_accuracy", "perplexity", "bits_per_byte", "unseen_context_share"):
        assert figures[name] is None


@pytest.mark.parametrize("kind", ["embeddings", "gpt"])
def test_held_out_part_shorter_than_a_window(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, kind: str) -> None:
    # Too short for a window while training; what it scores in the end sees the training text before it.
    outcome = toy_gpt(*few_steps(kind, corpus, tmp_path), "--val-fraction", 0.1)
    assert outcome.code == 0
    assert outcome.err.startswith("toy-gpt: note: the held-out part has 3 tokens, too few for a window of 4")
    assert outcome.err.count("\n") == 1
    log = (tmp_path / "outputs/train_log.csv").read_text("utf-8").splitlines()
    assert "val_loss" not in log[0]
    assert len(log) == 3
    assert "3 tokens scored" in outcome.out
    assert "val_loss" in tg.load(tmp_path).meta["metrics"]


def test_size_of_the_dial_with_one_number_changed(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    options = ("--corpus", corpus, "--base-dir", tmp_path, "--steps", 1, "--batch-size", 1, "--context", 3)
    assert toy_gpt("train", "--model", "gpt", "--size", "small", *options, "--embedding-dim", 8).code == 0
    meta, small = tg.load(tmp_path).meta, SIZES["gpt"]["small"]
    dial = {"heads": small.heads, "layers": small.layers}
    assert meta["architecture"] == {
        "embedding_dim": 8,
        "hidden_dim": 32,
        **dial,
        "dropout": 0.0,
        "rope_base": 10000.0,
        "bias": True,
    }
    training = meta["training"]
    assert (training["steps"], training["warmup"], training["piece_size"]) == (1, 0, 1)
    assert training["learning_rate"] == small.learning_rate


def test_options_reach_the_metadata(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    more = ("--piece-size", 3, "--warmup", 2, "--weight-decay", 0.5, "--clip", 0.25, "--learning-rate", 0.125)
    assert toy_gpt(*few_steps("gpt", corpus, tmp_path), *more, "--seed", 7).code == 0
    meta = tg.load(tmp_path).meta
    size = {
        "embedding_dim": 4,
        "hidden_dim": 6,
        "heads": 2,
        "layers": 2,
        "dropout": 0.1,
        "rope_base": 10000.0,
        "bias": True,
    }
    assert meta["architecture"] == size
    assert (meta["context_size"], meta["seed"]) == (3, 7)
    expected = {
        "context": 3,
        "steps": 4,
        "batch_size": 4,
        "piece_size": 3,
        "learning_rate": 0.125,
        "warmup": 2,
        "weight_decay": 0.5,
        "clip": 0.25,
        "eval_every": 2,
    }
    assert {name: meta["training"][name] for name in expected} == expected


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_other_tokens(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path, tokenizer: str) -> None:
    cut = ("--tokenizer", tokenizer, "--bpe-vocab", 260)
    assert toy_gpt(*few_steps("llama", corpus, tmp_path), *cut).code == 0
    answer = strict_json(toy_gpt("infer", "--base-dir", tmp_path, "--json", "--prompt", "the cat", "--num", 3).out)
    run = tg.load(tmp_path)
    assert run.meta["tokenizer"]["kind"] == tokenizer
    assert len(answer["generated"]) == 6
    ids = run.tokenizer.token_ids(answer["start_tokens"])
    assert [(row["id"], row["probability"]) for row in answer["top_k"]] == top_k(run.model.next_probs(ids), 5)


REFUSED: list[tuple[str, tuple[object, ...], str]] = [
    *((kind, ("--epochs", 5), "--epochs does not apply to") for kind in NETWORKS),
    *(("bigram", (option, 4), f"{option} does not apply to bigram") for option in ("--steps", "--hidden", "--workers")),
    ("bigram", ("--size", "tiny"), "--size does not apply"),
    ("bigram", ("--resume",), "--resume does not apply"),
    ("bigram", ("--no-keep",), "--no-keep does not apply"),
    ("bigram", ("--more-steps", 3), "--more-steps does not apply"),
    ("bigram", ("--keep", "best"), "--keep does not apply"),
    ("gpt", ("--more-steps", 3), "--more-steps needs --resume"),
    ("gpt", ("--keep", "first"), "'first'"),
    ("gpt", ("--keep", "best"), "hold out at least 17 tokens (--val-fraction); the held-out part has 0"),
    ("gpt", ("--resume",), "there is no checkpoint, so there is nothing to resume"),
    ("unigram", ("--weight-decay", 0), "--weight-decay does not apply"),
    ("context-3", ("--checkpoint-every", 5), "--checkpoint-every does not apply"),
    ("kneser-ney", ("--learning-rate", 0.1), "--learning-rate does not apply"),
    ("kneser-ney", ("--steps", 4), "--steps does not apply"),
    ("mixture", ("--heads", 2), "--heads does not apply"),
    ("embeddings", ("--heads", 2), "--heads does not apply to embeddings"),
    ("embeddings", ("--layers", 1), "--layers does not apply to embeddings"),
    ("embeddings", ("--dropout", 0.1), "--dropout does not apply to embeddings"),
    ("attention", ("--hidden", 8), "--hidden does not apply to attention"),
    ("attention", ("--heads", 2), "--heads does not apply to attention"),
    *((kind, ("--size", "huge"), "'huge'") for kind in NETWORKS),
    *((kind, ("--context", value), "context must be at least 1") for kind in NETWORKS for value in (0, -1)),
    *((kind, ("--context", 10**9), str(10**9 + 1)) for kind in NETWORKS),
    ("gpt", ("--workers", 0), "at least 1 worker"),
    ("gpt", ("--workers", -3), "at least 1 worker"),
    ("gpt", ("--checkpoint-every", -1), "checkpoints"),
    *(("gpt", (f"--{name}", 0), name.replace("-", " ")) for name in ("steps", "batch-size")),
    ("gpt", ("--piece-size", 0), "micro batch"),
    ("gpt", ("--eval-every", 0), "eval every"),
    ("gpt", ("--warmup", -1), "warmup"),
    *(("gpt", ("--embedding-dim", value), "embedding_dim must be") for value in (0, -4, 10**9)),
    *((kind, ("--hidden", 0, "--context", 3), "feed-forward") for kind in ("gpt", "llama")),
    *(("embeddings", ("--hidden", value), "hidden_dim must be") for value in (-1, 10**9)),
    *(("gpt", ("--heads", value), "heads") for value in (0, -2, 3, 64)),
    ("gpt", ("--layers", 0), "layers must be"),
    ("llama", ("--embedding-dim", 6, "--heads", 2, "--context", 3), "pairs"),
    *(("gpt", ("--dropout", value), "dropout must be") for value in (1, -0.1, "nan")),
    *(("llama", ("--learning-rate", value), "learning rate must be") for value in (0, -1, "nan", "inf", 1001)),
    *(("llama", ("--clip", value), "clip must be") for value in (-1, "nan", "inf")),
    *(("llama", ("--weight-decay", value), "weight decay") for value in (-1, "nan", "inf", 10**6)),
    ("gpt", ("--steps", "many"), "--steps"),
    ("gpt", ("--heads", 2.5), "--heads"),
    ("gpt", ("--val-fraction", 0.95, "--context", 9), "1 training tokens are too few: gpt needs at least 10"),
]


@pytest.mark.parametrize(("kind", "options", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_options_that_cannot_be_used(
    refuse: Callable[..., str], corpus: Path, kind: str, options: tuple[object, ...], words: str
) -> None:
    assert words in refuse("train", "--model", kind, "--corpus", corpus, *options)


def test_text_too_short_for_a_window(toy_gpt: ToyGpt, refuse: Callable[..., str], tmp_path: Path) -> None:
    for kind in NETWORKS:
        corpus = tmp_path / f"{kind}.txt"
        corpus.write_text("a b c", encoding="utf-8")
        assert "needs at least 4" in refuse(*few_steps(kind, corpus, tmp_path)[:-2])
        corpus.write_text("a b c d", encoding="utf-8")
        assert toy_gpt(*few_steps(kind, corpus, tmp_path / kind)).code == 0


def test_help_names_the_network_options(toy_gpt: ToyGpt) -> None:
    outcome = toy_gpt("train", "--help")
    words = (
        outcome.out.replace(",", " ").replace("[", " ").replace("]", " ").replace("{", " ").replace("}", " ").split()
    )
    assert set(NETWORK_OPTIONS) <= set(words)
    assert set(SIZE_NAMES) <= set(words)
    assert set(NETWORKS) <= set(words)
    assert "--explain" in toy_gpt("infer", "--help").out


def test_levels_lists_eleven_models(toy_gpt: ToyGpt) -> None:
    lines = toy_gpt("levels").out.splitlines()
    assert len(lines) == 12
    assert [line.split()[:2] for line in lines[1:]] == [[str(entry.code), entry.name] for entry in LADDER]
    assert [line.split()[1] for line in lines[8:]] == list(NETWORKS)
    assert [int(line.split()[2]) for line in lines[8:]] == [SIZES[kind]["tiny"].context for kind in NETWORKS]


# --- infer, evaluate, chat --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
def test_infer_gives_what_the_model_predicts(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    base = base_of(kind)
    start = ["sees", "the", "dog", "."]
    outcome = toy_gpt(
        "infer", "--base-dir", base, "--json", "--greedy", "--num", 6, "--topk", 3, "--start-tokens", *start
    )
    assert (outcome.code, outcome.err) == (0, "")
    answer = strict_json(outcome.out)
    assert list(answer) == ["start_tokens", "top_k", "generated", "samples"]
    run = tg.load(base)
    ids = run.tokenizer.token_ids(start)
    assert [(row["id"], row["probability"]) for row in answer["top_k"]] == top_k(run.model.next_probs(ids[-3:]), 3)
    for _ in range(6):
        probs = run.model.next_probs(ids[-3:])
        ids.append(probs.index(max(probs)))
    assert answer["generated"] == [run.tokenizer.tokens[token_id] for token_id in ids]


@pytest.mark.parametrize("kind", NETWORKS)
def test_infer_from_the_beginning_of_the_text(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    lines = toy_gpt("infer", "--base-dir", base_of(kind), "--num", 2).out.splitlines()
    assert lines[0] == f"model      {kind}, vocabulary 11"
    assert lines[1] == "context    the cat sees"
    assert lines[-1].startswith("generated  the cat sees ")
    assert len(lines[-1].split()) == 6


@pytest.mark.parametrize("kind", NETWORKS)
def test_infer_from_few_tokens(
    toy_gpt: ToyGpt, refuse: Callable[..., str], base_of: Callable[[str], Path], kind: str
) -> None:
    base = base_of(kind)
    # All look back 3 tokens; but for embeddings, one is enough.
    needed = "3 tokens" if kind == "embeddings" else "1 token"
    assert f"needs {needed} to start from, got 0" in refuse("infer", "--prompt", "", base=base)
    if kind == "embeddings":
        assert "needs 3 tokens to start from, got 2" in refuse("infer", "--prompt", "the cat", base=base)
        return
    answer = strict_json(toy_gpt("infer", "--base-dir", base, "--prompt", "cat", "--num", 5, "--json").out)
    assert answer["start_tokens"] == ["cat"]
    assert len(answer["generated"]) == 6


@pytest.mark.parametrize("kind", NETWORKS)
def test_sampling(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    argv = ("infer", "--base-dir", base_of(kind), "--num", 12, "--temperature", 1, "--top-p", 0.95, "--json")
    texts = {toy_gpt(*argv, "--seed", seed).out for seed in (1, 1, 2, 3)}
    assert len(texts) == 3
    assert len({json.dumps(strict_json(text)["top_k"]) for text in texts}) == 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_evaluate(
    toy_gpt: ToyGpt, refuse: Callable[..., str], base_of: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    base, text = base_of(kind), tmp_path / "new.txt"
    text.write_text("the bird runs to a dog and the cat sits .", encoding="utf-8")
    figures = strict_json(toy_gpt("evaluate", "--base-dir", base, "--text", text, "--json").out)
    run = tg.load(base)
    ids = run.tokenizer.encode(text.read_text("utf-8"))
    losses = [-math.log(prediction.probability) for prediction in run.model.score(ids)]
    assert figures["tokens"] == 11
    assert figures["val_loss"] == pytest.approx(sum(losses) / 11, abs=1e-12)
    assert figures["bits_per_byte"] == pytest.approx(sum(losses) / math.log(2) / 41)
    assert figures["unseen_context_share"] is None
    assert figures["parameters"] == run.model.num_parameters()
    shown = toy_gpt("evaluate", "--base-dir", base, "--text", text)
    assert shown.out.startswith("11 tokens scored\n")
    assert "never seen" not in shown.out
    # An unknown word is one of V equally likely ones, and splits the text in two.
    text.write_text("the bird runs zzz a dog sees", encoding="utf-8")
    assert "'zzz'" in refuse("evaluate", "--text", text, base=base)
    uniform = strict_json(toy_gpt("evaluate", "--base-dir", base, "--text", text, "--json", "--unknown", "uniform").out)
    parts = [run.tokenizer.encode(part) for part in ("the bird runs", "a dog sees")]
    losses = [-math.log(prediction.probability) for part in parts for prediction in run.model.score(part)]
    assert uniform["val_loss"] == pytest.approx((sum(losses) + math.log(11)) / 7, abs=1e-12)
    skipped = strict_json(toy_gpt("evaluate", "--base-dir", base, "--text", text, "--json", "--unknown", "skip").out)
    assert skipped["val_loss"] == pytest.approx(sum(losses) / 6, abs=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_evaluate_a_text_shorter_than_the_context(
    toy_gpt: ToyGpt, base_of: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    text = tmp_path / "word.txt"
    text.write_text("cat", encoding="utf-8")
    figures = strict_json(toy_gpt("evaluate", "--base-dir", base_of(kind), "--text", text, "--json").out)
    assert figures["val_loss"] == pytest.approx(math.log(11))


@pytest.mark.parametrize("kind", NETWORKS)
def test_chat(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    base = base_of(kind)
    prompts = ["the cat sees", "the cat sees the", "a dog zzz", "cat", "runs to the", "the cat sees"]
    outcome = toy_gpt("chat", "--base-dir", base, "--num", 3, "--topk", 2, stdin="\n".join(prompts) + "\n")
    assert (outcome.code, outcome.err) == (0, "")
    said = [line for line in outcome.out.splitlines() if " > " in line]
    assert "'zzz'" in outcome.out
    assert len(said) == (4 if kind == "embeddings" else 5)
    # Each prompt stands alone, whatever was said before.
    for line in said:
        prompt = line.partition(" > ")[0]
        alone = toy_gpt("infer", "--base-dir", base, "--num", 3, "--prompt", prompt, "--json")
        assert line == f"{prompt} > {' '.join(strict_json(alone.out)['generated'][-3:])}"
    assert said[0] == said[-1]


# --- explain ----------------------------------------------------------------------------------------------------

PLACES = {
    "embeddings": ["no token", "last token", "last 2 tokens", "last 3 tokens"],
    "attention": ["no token", "attention"],
    "gpt": ["embeddings", "block 1", "block 2"],
    "llama": ["embeddings", "block 1", "block 2"],
}
HEADS = {"embeddings": [0, 0, 0, 0], "attention": [0, 1], "gpt": [0, 2, 2], "llama": [0, 2, 2]}


@pytest.mark.parametrize("kind", NETWORKS)
def test_explanation_as_json(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    base = base_of(kind)
    argv = ("infer", "--base-dir", base, "--json", "--topk", 11, "--start-tokens", "runs", "the", "cat", "sees")
    answer = strict_json(toy_gpt(*argv, "--explain").out)
    assert list(answer) == ["start_tokens", "top_k", "generated", "samples", "explanation"]
    assert {**strict_json(toy_gpt(*argv).out), "explanation": answer["explanation"]} == answer
    places = answer["explanation"]
    assert [place["place"] for place in places] == PLACES[kind]
    assert [len(place["attention"]) for place in places] == HEADS[kind]
    for shares in (shares for place in places for shares in place["attention"]):
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(1)
    # All 11 tokens are shown, most likely first, and the last logits give their probabilities.
    tokens = [row["token"] for row in answer["top_k"]]
    assert [list(place["logits"]) for place in places] == [tokens] * len(places)
    assert softmax(list(places[-1]["logits"].values())) == pytest.approx(
        [row["probability"] for row in answer["top_k"]], abs=1e-9
    )


@pytest.mark.parametrize("kind", NETWORKS)
def test_explanation_as_text(toy_gpt: ToyGpt, base_of: Callable[[str], Path], kind: str) -> None:
    argv = ("infer", "--base-dir", base_of(kind), "--topk", 3, "--start-tokens", "runs", "the", "cat", "sees")
    outcome = toy_gpt(*argv, "--explain")
    assert (outcome.code, outcome.err) == (0, "")
    answer = strict_json(toy_gpt(*argv, "--explain", "--json").out)
    first, *more = outcome.out.removeprefix(toy_gpt(*argv).out).strip("\n").split("\n\n")
    title, header, *rows = first.splitlines()
    assert title == "logits, step by step"
    assert header.split("  ")[0] == "token"
    assert [part.strip() for part in header.split("  ") if part.strip()] == ["token", *PLACES[kind], "probability"]
    for line, row in zip(rows, answer["top_k"], strict=True):
        logits = [place["logits"][row["token"]] for place in answer["explanation"]]
        assert line.split() == [row["token"], *(f"{logit:.4f}" for logit in logits), f"{row['probability']:.4f}"]
    if kind == "embeddings":
        assert more == []
        return
    title, header, *rows = more[0].splitlines()
    assert title == "attention of the last token"
    heads = [shares for place in answer["explanation"] for shares in place["attention"]]
    assert header.count("head") == len(heads)
    for place, token in enumerate(["the", "cat", "sees"]):
        assert rows[place].split() == [str(place - 3), token, *(f"{shares[place]:.4f}" for shares in heads)]
    assert len(rows) == 3


def test_the_prompt_is_read_once(toy_gpt: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To explain and to write, and by all samples; each step after that reads one token."""
    tg.train("llama", text="abcd" * 30, tokenizer="char", steps=1, batch_size=2, context=64, save_to=tmp_path)
    read: list[int] = []
    embed = TransformerLM._embed

    def watched(self: TransformerLM, ids: Sequence[Sequence[int]], start: int, *, exact: bool) -> Any:
        read.append(len(ids[0]))
        return embed(self, ids, start, exact=exact)

    monkeypatch.setattr(TransformerLM, "_embed", watched)
    base = ("infer", "--base-dir", tmp_path, "--prompt", "abcd" * 10, "--num")
    assert toy_gpt(*base, 5, "--explain").code == 0
    assert sum(read) == 40 + 5  # the last token of the prompt once more, to write, and four of the five new ones
    read.clear()
    assert toy_gpt(*base, 0, "--explain").code == 0
    assert sum(read) == 40 + 1
    read.clear()
    assert toy_gpt(*base, 1, "--num-samples", 3, "--explain").code == 0
    assert sum(read) == 40 + 3


@pytest.mark.parametrize("kind", ["unigram", "bigram", "context-3", "kneser-ney"])
def test_table_has_no_inside_to_show(refuse: Callable[..., str], base_of: Callable[[str], Path], kind: str) -> None:
    for more in ((), ("--json",)):
        assert "only a network has steps to explain" in refuse("infer", "--explain", *more, base=base_of(kind))
