"""test_project.py - The manifest, what `toy-gpt check` says, and that the committed runs can be made again."""

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train as tg
from conftest import needs_processes
from toy_gpt_train.artifacts.run_folder import EVIDENCE_NAMES
from toy_gpt_train.cli.check import problems
from toy_gpt_train.cli.ladder import LadderRun, declared_runs
from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.inference.evaluate import evaluate
from toy_gpt_train.models.kneser_ney import KneserNey
from toy_gpt_train.models.registry import LADDER, find_model
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.project import BASE_DIR, IN_CHECKOUT, MANIFEST_NAME, RESOURCE_ROOT, declared_repo_name, load_manifest
from toy_gpt_train.tokenizers.encoded import encode_corpus
from toy_gpt_train.world.text import corpus_at

HELD = ("corpus", "artifacts", "outputs", MANIFEST_NAME)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """A copy of all that the manifest speaks of, to be changed."""
    target = tmp_path / "copy"
    target.mkdir()
    for name in HELD:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)
    # WHY without the large runs: every check reads every declared run.
    manifest = (target / MANIFEST_NAME).read_text("utf-8")
    first, *entries = manifest.partition("[[corpus]]")[0].split("[[ladder]]")
    small = [entry for entry in entries if "000_" in entry or "001_" in entry]
    rest = manifest[manifest.index("[[corpus]]") :]
    (target / MANIFEST_NAME).write_text("[[ladder]]".join([first, *small]) + rest, encoding="utf-8")
    return target


# --- the manifest -----------------------------------------------------------------------------------------------

MANIFEST = """\
[repo]
name = "mine"

[default_run]
model = "bigram"
corpus = "corpus/a.txt"
artifacts = ["artifacts/00_meta.json"]
evidence = ["outputs/train_log.csv"]

[[ladder]]
corpus = "corpus/a.txt"
models = ["unigram", "bigram"]

[[corpus]]
id = "000"
path = "corpus/a.txt"
sha256 = "00"
demonstrates = "Nothing."
"""


def test_manifest_is_read(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text(MANIFEST, encoding="utf-8")
    manifest = load_manifest(tmp_path)
    assert (manifest.model, manifest.corpus) == ("bigram", "corpus/a.txt")
    assert manifest.artifacts == ("artifacts/00_meta.json",)
    assert manifest.evidence == ("outputs/train_log.csv",)
    assert [(entry.corpus, entry.models) for entry in manifest.ladder] == [("corpus/a.txt", ("unigram", "bigram"))]
    (corpus,) = manifest.corpora
    assert (corpus.corpus_id, corpus.path, corpus.sha256, corpus.demonstrates) == (
        "000",
        "corpus/a.txt",
        "00",
        "Nothing.",
    )
    assert declared_repo_name(tmp_path / MANIFEST_NAME) == "mine"
    assert declared_repo_name(tmp_path / "nowhere") is None


@pytest.mark.parametrize("line", [line for line in MANIFEST.splitlines() if " = " in line and "name" not in line])
def test_manifest_without_a_line_is_refused(tmp_path: Path, line: str) -> None:
    # Each line but the first of its kind: `corpus = ` stands there twice.
    text = MANIFEST.replace(line + "\n", "", 1)
    assert text != MANIFEST
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=MANIFEST_NAME):
        load_manifest(tmp_path)


WRONG_MANIFESTS = {
    "empty": "",
    "not TOML": "[default_run",
    "not TOML either": MANIFEST + "\nx = = 1\n",
    "a table twice": MANIFEST + "\n[default_run]\nmodel = 1\n",
    "run is a number": MANIFEST.replace("[default_run]", "[other]").replace("[repo]", "default_run = 1\n[repo]"),
    "run is a list": MANIFEST.replace("[default_run]", "[[default_run]]"),
    "ladder is a table": MANIFEST.replace("[[ladder]]", "[ladder]"),
    "corpus is a table": MANIFEST.replace("[[corpus]]", "[corpus]"),
    "model is a number": MANIFEST.replace('model = "bigram"', "model = 2"),
    "corpus path is a number": MANIFEST.replace('corpus = "corpus/a.txt"\nartifacts', "corpus = 1\nartifacts"),
    "corpus path of the list is a number": MANIFEST.replace('path = "corpus/a.txt"', "path = 1"),
    "hash is a number": MANIFEST.replace('sha256 = "00"', "sha256 = 0"),
    "artifacts are one name": MANIFEST.replace('["artifacts/00_meta.json"]', '"artifacts/00_meta.json"'),
    "artifacts are numbers": MANIFEST.replace('["artifacts/00_meta.json"]', "[1, 2]"),
    "models are one name": MANIFEST.replace('["unigram", "bigram"]', '"unigram"'),
    "models are numbers": MANIFEST.replace('["unigram", "bigram"]', "[1, 2]"),
    "tokenizer is a number": MANIFEST.replace("[[corpus]]", "tokenizer = 1\n[[corpus]]"),
    "held-out share is text": MANIFEST.replace("[[corpus]]", 'val_fraction = "much"\n[[corpus]]'),
    "deep": "x = " + "[" * 20_000 + "]" * 20_000,
    "held-out share is huge": MANIFEST.replace("[[corpus]]", f"val_fraction = 1{'0' * 400}\n[[corpus]]"),
    "a number is too long to read": f"{MANIFEST}\nx = {'9' * 5000}\n",
    "a name has too many parts": f"{MANIFEST}\nx{'.a' * 20_000} = 1\n",
    "too large": MANIFEST + "# nothing\n" * 110_000,
}


@pytest.mark.parametrize("wrong", WRONG_MANIFESTS)
def test_wrong_manifest_is_refused(toy_gpt: Callable[..., Any], tmp_path: Path, wrong: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(WRONG_MANIFESTS[wrong], encoding="utf-8")
    with pytest.raises(InputError, match=MANIFEST_NAME) as caught:
        load_manifest(tmp_path)
    assert "\n" not in str(caught.value).strip()
    assert toy_gpt("check", "--base-dir", tmp_path).refused


def test_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(MANIFEST.encode("utf-16"))
    with pytest.raises(InputError, match=rf"{MANIFEST_NAME}, line 1: not UTF-8"):
        load_manifest(tmp_path)


def test_missing_manifest_is_refused(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    outcome = toy_gpt("check", "--base-dir", tmp_path)
    assert outcome.refused
    assert MANIFEST_NAME in outcome.err
    with pytest.raises(InputError, match=MANIFEST_NAME):
        load_manifest(tmp_path)


def test_manifest_of_the_repository(repository: Path) -> None:
    manifest = load_manifest()
    assert declared_repo_name(repository / MANIFEST_NAME) == "toy-gpt-train"
    kinds = [kind for entry in manifest.ladder for kind in entry.models]
    assert {find_model(kind).name for kind in [manifest.model, *kinds]} == {manifest.model, *kinds}
    paths = [corpus.path for corpus in manifest.corpora]
    assert {manifest.corpus, *(entry.corpus for entry in manifest.ladder if not entry.sha256)} <= set(paths)
    assert {entry.corpus for entry in manifest.ladder if entry.sha256} == {"world:400k"}
    assert len(set(paths)) == len(paths)
    for corpus in manifest.corpora:
        assert Path(corpus.path).name.startswith(f"{corpus.corpus_id}_")
        assert sha256_of_file(repository / corpus.path) == corpus.sha256
        # WHY: with other line ends, the same text has another hash and other artifacts.
        assert b"\r" not in (repository / corpus.path).read_bytes()
    # Every text there is declared.
    there = [path.relative_to(repository).as_posix() for path in (repository / "corpus").glob("*.txt")]
    assert sorted(there) == sorted(paths)


@pytest.mark.skipif(not IN_CHECKOUT, reason="an installed copy has no checkout around it")
def test_base_dir_of_a_checkout(repository: Path) -> None:
    assert BASE_DIR == RESOURCE_ROOT == repository
    assert (repository / "pyproject.toml").is_file()


# --- check --------------------------------------------------------------------------------------------------------


def wrong_lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("WRONG")]


def test_check_of_the_repository(toy_gpt: Callable[..., Any], repository: Path) -> None:
    outcome = toy_gpt("check", "--base-dir", repository)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[-1] == "all as declared"
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    manifest = load_manifest(repository)
    runs = 1 + sum(len(entry.models) for entry in manifest.ladder)
    assert len(lines) - 1 == len(manifest.corpora) + len(manifest.artifacts) + len(manifest.evidence) + runs


def test_check_changes_nothing(toy_gpt: Callable[..., Any], listing: Callable[[Path], Any], copy: Path) -> None:
    before = listing(copy)
    assert toy_gpt("check", "--base-dir", copy).code == 0
    assert listing(copy) == before


def set_meta(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    meta = json.loads(path.read_text("utf-8"))
    change(meta)
    path.write_text(json.dumps(meta), encoding="utf-8")


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode("utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode("utf-8"))


BIGRAM = "ladder/200-bigram/000_cat_dog"

# What is done to the copy, and the one line that must say so.
MISMATCHES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "corpus changed": (
        lambda copy: replace_text(copy / "corpus/030_stories.txt", " ", "  "),
        "corpus corpus/030_stories.txt",
        "sha256",
    ),
    "corpus missing": (lambda copy: (copy / "corpus/030_stories.txt").unlink(), "corpus/030_stories.txt", "missing"),
    "evidence missing": (lambda copy: (copy / "outputs/train_log.csv").unlink(), "outputs/train_log.csv", "missing"),
    "view missing": (
        lambda copy: (copy / "artifacts/03_token_embeddings.csv").unlink(),
        "artifacts/03_token_embeddings.csv",
        "missing",
    ),
    "run missing": (lambda copy: shutil.rmtree(copy / "artifacts" / BIGRAM), f"run {BIGRAM}", "missing"),
    "metadata missing": (lambda copy: (copy / f"artifacts/{BIGRAM}/00_meta.json").unlink(), BIGRAM, "missing"),
    "weights missing": (
        lambda copy: (copy / f"artifacts/{BIGRAM}/02_model_weights.csv").unlink(),
        BIGRAM,
        "missing",
    ),
    "weights damaged": (
        lambda copy: replace_text(copy / f"artifacts/{BIGRAM}/02_model_weights.csv", "0.", "x."),
        BIGRAM,
        "02_model_weights.csv, line 2",
    ),
    "vocabulary damaged": (
        lambda copy: replace_text(copy / f"artifacts/{BIGRAM}/01_vocabulary.csv", "cat", "dog"),
        BIGRAM,
        "01_vocabulary.csv",
    ),
    "metadata damaged": (
        lambda copy: (copy / f"artifacts/{BIGRAM}/00_meta.json").write_bytes(b"{"),
        BIGRAM,
        "not JSON",
    ),
    "another kind": (
        lambda copy: shutil.copytree(
            copy / "artifacts/ladder/300-context-2/000_cat_dog", copy / "artifacts" / BIGRAM, dirs_exist_ok=True
        ),
        BIGRAM,
        "the model is context-2, declared is bigram",
    ),
    "another corpus": (
        lambda copy: shutil.copytree(
            copy / "artifacts/ladder/200-bigram/001_animals", copy / "artifacts" / BIGRAM, dirs_exist_ok=True
        ),
        BIGRAM,
        "another corpus",
    ),
    "metadata without a corpus": (
        lambda copy: set_meta(copy / f"artifacts/{BIGRAM}/00_meta.json", lambda meta: meta.pop("corpus")),
        BIGRAM,
        "",
    ),
    "a corpus that is no table": (
        lambda copy: set_meta(copy / f"artifacts/{BIGRAM}/00_meta.json", lambda meta: meta.update(corpus=[1])),
        BIGRAM,
        "",
    ),
    "a corpus without its hash": (
        lambda copy: set_meta(copy / f"artifacts/{BIGRAM}/00_meta.json", lambda meta: meta["corpus"].pop("sha256")),
        BIGRAM,
        "",
    ),
    "a declared hash": (
        lambda copy: replace_text(copy / MANIFEST_NAME, "6cd0d42582e7", "6cd0d42582e8"),
        "corpus corpus/030_stories.txt",
        "sha256",
    ),
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_check_finds_a_mismatch(toy_gpt: Callable[..., Any], copy: Path, mismatch: str) -> None:
    change, what, problem = MISMATCHES[mismatch]
    change(copy)
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == "1 not as declared"
    (line,) = wrong_lines(outcome.out)
    assert what in line
    assert problem in line


def test_check_of_the_default_run(toy_gpt: Callable[..., Any], copy: Path) -> None:
    # The missing file is missed, and so is the run.
    (copy / "artifacts/02_model_weights.csv").unlink()
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 1
    assert [line.split(":")[0] for line in wrong_lines(outcome.out)] == [
        "WRONG file artifacts/02_model_weights.csv",
        "WRONG default run",
    ]
    assert outcome.out.splitlines()[-1] == "2 not as declared"


def test_check_of_a_changed_corpus_that_runs_were_trained_on(toy_gpt: Callable[..., Any], copy: Path) -> None:
    # Corpus and declaration agree, but the runs are of the old text.
    manifest = (copy / MANIFEST_NAME).read_text("utf-8")
    old = sha256_of_file(copy / "corpus/000_cat_dog.txt")
    replace_text(copy / "corpus/000_cat_dog.txt", "cat", "cow")
    new = sha256_of_file(copy / "corpus/000_cat_dog.txt")
    (copy / MANIFEST_NAME).write_text(manifest.replace(old, new), encoding="utf-8")
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 1
    assert {line.split(":")[0] for line in wrong_lines(outcome.out)} == {
        "WRONG default run",
        *(
            f"WRONG run ladder/{folder}/000_cat_dog"
            for folder in ("100-unigram", "200-bigram", "300-context-2", "400-context-3")
        ),
    }


def test_check_of_a_default_run_of_another_model(toy_gpt: Callable[..., Any], copy: Path) -> None:
    options = ("--model", "bigram", "--epochs", 1, "--corpus", copy / "corpus/000_cat_dog.txt")
    assert toy_gpt("train", *options, "--base-dir", copy).code == 0
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 1
    assert wrong_lines(outcome.out) == ["WRONG default run: the model is bigram, declared is context-3"]


def test_check_of_an_unknown_model_goes_on(toy_gpt: Callable[..., Any], copy: Path) -> None:
    replace_text(copy / MANIFEST_NAME, '"unigram"', '"trigram"')
    outcome = toy_gpt("check", "--base-dir", copy)
    assert (outcome.code, outcome.err) == (1, "")
    (wrong,) = (line for line in outcome.out.splitlines() if line.startswith("WRONG"))
    assert wrong.startswith("WRONG run of 'trigram' on corpus/000_cat_dog.txt: unknown model 'trigram'")
    assert "ok    run ladder/200-bigram/001_animals" in outcome.out
    assert outcome.out.endswith("1 not as declared\n")


def test_problems_names_every_declaration(toy_gpt: Callable[..., Any], copy: Path) -> None:
    (copy / "corpus/001_animals.txt").unlink()
    found = dict(problems(copy))
    assert found["corpus corpus/001_animals.txt"] == "missing"
    assert [problem for what, problem in found.items() if "corpus/001" not in what] == [None] * (len(found) - 1)
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 1
    assert outcome.out.count("\n") == len(found) + 1


# --- the committed runs -------------------------------------------------------------------------------------------


def committed_files(folder: Path) -> dict[str, bytes]:
    return {
        f"{name}/{path.relative_to(folder / name).as_posix()}": path.read_bytes()
        for name in ("artifacts", "outputs")
        for path in (folder / name).rglob("*")
        # Not what benchmarks have printed, the demo, nor the checkpoint and the logs of a run that was trained here.
        if path.is_file()
        and not {"bench", "checkpoints", "demo", *EVIDENCE_NAMES} & set(path.relative_to(folder).parts)
    }


def test_training_again_gives_the_committed_bytes(
    toy_gpt: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    # The manifest's name stands in the metadata; a clone may lie in a folder of any name.
    shutil.copy(repository / MANIFEST_NAME, tmp_path)
    assert toy_gpt("train", "--base-dir", tmp_path).code == 0
    # WHY not the networks: they learn for minutes. `toy-gpt ladder` without --models trains them too.
    quick = [entry.name for entry in LADDER if not entry.model_class.trains_in_steps]
    assert toy_gpt("ladder", "--base-dir", tmp_path, "--models", *quick).code == 0
    made, committed = committed_files(tmp_path), committed_files(repository)
    networks = [entry.folder for entry in LADDER if entry.model_class.trains_in_steps]
    assert sorted(made) == sorted(name for name in committed if not set(networks) & set(Path(name).parts))
    assert [name for name, content in made.items() if content != committed[name]] == []


def committed_runs() -> Iterator[Any]:
    """The default run and the ladder: folder, model, text, tokenizer and held-out share, as declared."""
    manifest = load_manifest()
    yield pytest.param("", manifest.model, RESOURCE_ROOT / manifest.corpus, "word", 0.0, id="default")
    for run in declared_runs():
        marks = [pytest.mark.slow] if run.entry.name in ("attention", "gpt", "llama") else []
        yield pytest.param(run.name, run.entry.name, *run[1:4], marks=marks, id=run.name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model", "corpus", "tokenizer", "val_fraction"), list(committed_runs()))
def test_committed_run_is_the_model_its_metadata_describes(
    repository: Path, name: str, model: str, corpus: Path, tokenizer: str, val_fraction: float
) -> None:
    run = tg.load(repository / "artifacts" / name)
    assert (run.name, run.meta["tokenizer"], run.meta["val_fraction"]) == (model, {"kind": tokenizer}, val_fraction)
    assert repository / run.meta["corpus"]["path"] == corpus
    encoded = encode_corpus(read_corpus(corpus), tokenizer, 512, val_fraction)
    ids, num_train = encoded.ids, encoded.num_train
    assert run.tokenizer.tokens == encoded.tokenizer.tokens
    assert run.frequencies == encoded.frequencies
    assert sum(run.frequencies) == num_train
    assert run.meta["start_tokens"] == [run.tokenizer.tokens[i] for i in ids[: run.model.context_size]]
    metrics = run.meta["metrics"]
    if num_train < len(ids):
        held_out = evaluate(run.model, ids, encoded.held_out_sizes, run.frequencies, num_train)
        assert (round(held_out.loss, 6), round(held_out.accuracy, 6)) == (metrics["val_loss"], metrics["val_accuracy"])
    start = run.model.scored_from(num_train)
    if start is not None:  # others have their training loss from the log
        final = summarize(zip(run.model.score(ids[:num_train], start), ids[start:num_train], strict=True))
        assert (round(final.loss, 6), round(final.accuracy, 6)) == (metrics["train_loss"], metrics["train_accuracy"])
    else:
        last = run.history[-1]
        assert (last["avg_loss"], last["accuracy"]) == (metrics["train_loss"], metrics["train_accuracy"])
    assert run.meta["loss_floor"] == round(run.model.loss_floor(ids[:num_train]), 6) <= metrics["train_loss"]
    log = (repository / "outputs" / name / "train_log.csv").read_text("utf-8").splitlines()
    assert log[0].startswith("epoch,avg_loss,accuracy")
    epochs = [float(line.split(",")[0]) for line in log[1:]]
    assert epochs[-1] == run.meta["training"]["epochs"]
    assert run.model.trains_in_steps or epochs == [i + 1 for i in range(len(epochs))]
    losses = [float(line.split(",")[1]) for line in log[1:]]
    assert losses[-1] < losses[0] or len(losses) == 1
    assert [(record["epoch"], record["avg_loss"]) for record in run.history] == list(zip(epochs, losses, strict=True))


@pytest.mark.parametrize("declared", list(declared_runs(is_long=True)), ids=lambda run: run.name)
def test_long_committed_run_had_the_declared_options_to_its_end(repository: Path, declared: LadderRun) -> None:
    run = tg.load(repository / "artifacts" / declared.name)
    recorded = run.meta["training"] | run.meta["architecture"] | {"context": run.meta["context_size"]}
    recorded |= {"seed": run.meta["seed"], "micro_batch": recorded["piece_size"]}  # its name in the files
    assert {name: recorded[name] for name in declared.options} == declared.options


@pytest.mark.slow
@needs_processes
def test_long_committed_run_begins_as_its_log_says(repository: Path) -> None:
    """WHY only the beginning: all of it takes many minutes, and every step follows from the one before.

    WHY only the llama: its options are those of the others and more, and CI trains the short runs of all once more.
    """
    (declared,) = (run for run in declared_runs(is_long=True) if run.entry.name == "llama")
    run = tg.load(repository / "artifacts" / declared.name)
    log = (repository / "outputs" / declared.name / "train_log.csv").read_text("utf-8").splitlines()
    made: list[dict[str, float]] = []

    def first_line(record: dict[str, float]) -> None:
        made.append(record)
        raise StopTraining

    corpus = corpus_at(declared.corpus)
    assert (corpus.sha256, corpus.name) == (run.meta["corpus"]["sha256"], declared.corpus.name)
    how = {"val_fraction": declared.val_fraction, "workers": 2, **declared.options}
    with pytest.raises(StopTraining):
        tg.train(declared.entry.name, corpus, on_record=first_line, **how)
    (row,) = csv.DictReader(log[:2])
    expected = {name: float(value) for name, value in row.items() if name in made[0]}
    assert {name: round(value, 6) for name, value in made[0].items() if name in expected} == expected


def test_what_was_measured_of_the_story_world_is_of_the_committed_runs(repository: Path) -> None:
    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((repository / "outputs" / "bench" / name).read_text("utf-8").splitlines()))

    lines = {row["model"]: row for row in rows("story_world.csv")}
    for run in declared_runs(is_long=True):
        meta = tg.load(repository / "artifacts" / run.name).meta
        assert float(lines[run.entry.name]["loss"]) == meta["metrics"]["val_loss"]
    # The groups of each model are all tokens of the held-out part, so their mean is its loss.
    for name in ("story_world_kinds.csv", "story_world_distances.csv"):
        for model, line in lines.items():
            groups = [(int(row["tokens"]), float(row["loss"])) for row in rows(name) if row["model"] == model]
            mean = sum(tokens * loss for tokens, loss in groups) / sum(tokens for tokens, _ in groups)
            assert mean == pytest.approx(float(line["loss"]), abs=2e-6), (name, model)
    assert float(lines["llama"]["loss"]) < float(lines["kneser-ney"]["loss"]) < float(lines["context-3"]["loss"])


def test_no_committed_file_names_a_machine(repository: Path) -> None:
    for name, content in committed_files(repository).items():
        assert b"\r" not in content or name.endswith(".safetensors"), name
        assert os.fspath(repository).encode() not in content, name
        if name.endswith(".json"):
            meta = json.loads(content)
            assert (meta["repo_name"], meta["schema_version"]) == ("toy-gpt-train", 1)
            assert "\\" not in meta["corpus"]["path"]
            assert not Path(meta["corpus"]["path"]).is_absolute()


# --- the ladder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "context"),
    [
        ("unigram", 100, 0),
        ("context-0", 100, 0),
        ("bigram", 200, 1),
        ("context-1", 200, 1),
        ("context-2", 300, 2),
        ("context-3", 400, 3),
        ("context-03", 400, 3),
        ("context-5", 400, 5),
        ("context-9999", 400, 9999),
        ("kneser-ney", 450, 4),
    ],
)
def test_find_model(name: str, code: int, context: int) -> None:
    entry = find_model(name)
    assert (entry.code, entry.default_context) == (code, context)
    assert entry.chosen_context(context) == context
    assert find_model(entry.name) == entry


@pytest.mark.parametrize(
    "name", ["", "trigram", "context-", "context--1", "context-10000", "context-\u0663", "context-2\n"]
)
def test_find_unknown_model(name: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        find_model(name)


def test_a_context_is_chosen_where_the_name_leaves_it_open() -> None:
    entry = find_model("kneser-ney")
    assert (entry.chosen_context(7), entry.chosen_context(0), entry.chosen_context(None)) == (7, 0, None)
    assert entry.model_class is KneserNey
    with pytest.raises(InputError, match="at least 0"):
        entry.chosen_context(-1)
    with pytest.raises(InputError, match="does not fit"):
        find_model("context-3").chosen_context(2)


def test_the_ladder_climbs() -> None:
    codes = [entry.code for entry in LADDER]
    assert codes == sorted(set(codes))
    assert len({entry.name for entry in LADDER}) == len(LADDER)
    assert [entry.folder for entry in LADDER[:5]] == [
        "100-unigram",
        "200-bigram",
        "300-context-2",
        "400-context-3",
        "450-kneser-ney",
    ]


def test_declared_runs_are_the_manifests() -> None:
    runs = [(run.entry.name, run.corpus.relative_to(RESOURCE_ROOT).as_posix()) for run in declared_runs()]
    short = [entry for entry in load_manifest().ladder if not entry.is_long]
    assert runs == [(model, entry.corpus) for entry in short for model in entry.models]
    longer = [(run.entry.name, run.corpus, run.name) for run in declared_runs(is_long=True)]
    assert longer[-1] == ("llama", Path("world:400k"), "ladder/800-llama/world_400k")
    assert len(longer) + len(runs) == sum(len(entry.models) for entry in load_manifest().ladder)


def test_folder_of_a_run() -> None:
    run = LadderRun(find_model("context-5"), Path("a/b c.tar.txt"), "word", 0.0)
    assert run.name == "ladder/400-context-5/b c.tar"


def test_ladder_leaves_the_default_run_alone(toy_gpt: Callable[..., Any], tiny_corpus: Path, tmp_path: Path) -> None:
    paths = tg.train("bigram", tiny_corpus, epochs=1).save(tmp_path)
    before = {path: path.read_bytes() for path in paths}
    options = ("--models", "bigram", "kneser-ney", "--base-dir", tmp_path)
    assert toy_gpt("ladder", "--corpus", tiny_corpus, *options).code == 0
    assert {path: path.read_bytes() for path in paths} == before


@needs_processes
@pytest.mark.skipif(not (RESOURCE_ROOT / ".git").exists() or not shutil.which("git"), reason="needs git and its folder")
def test_clone_is_whole_where_git_changes_line_ends(python: Callable[..., Any], tmp_path: Path) -> None:
    def git(*argv: object) -> list[str]:
        done = subprocess.run(["git", *map(str, argv)], capture_output=True, check=True)
        return done.stdout.decode("utf-8").splitlines()

    clone = tmp_path / "clone"
    git("clone", "--quiet", "--config", "core.autocrlf=true", RESOURCE_ROOT, clone)
    ends = [line.split()[:2] for line in git("-C", clone, "ls-files", "--eol")]  # in the repository, in the folder
    assert len(ends) > 400
    assert [(index, here) for index, here in ends if index[2:] != here[2:]] == []
    done = python("-m", "toy_gpt_train", "check", PYTHONPATH=str(clone / "src"))
    assert (done.code, done.err) == (0, ""), done.out
