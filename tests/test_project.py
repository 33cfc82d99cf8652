"""test_project.py - The manifest, what `toy-gpt check` says, and that the committed runs can be made again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toy_gpt_train.a_tokenizer import read_tokens
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.cli.check import check_project, problems
from toy_gpt_train.d_train import SCORED_OF_TRAINING, TrainSettings, train_run
from toy_gpt_train.e_infer import load_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.io_artifacts import sha256_of_file
from toy_gpt_train.cli.ladder import declared_runs, run_name
from toy_gpt_train.models.registry import LEVELS, level_for_kind
from toy_gpt_train.models.kneser_ney import KneserNeyModel
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.project import BASE_DIR, IN_CHECKOUT, MANIFEST_NAME, RESOURCE_ROOT, declared_repo_name, load_manifest

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
    with pytest.raises(InputError, match="TOML"):
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
    assert {level_for_kind(kind).kind for kind in [manifest.model, *kinds]} == {manifest.model, *kinds}
    paths = [corpus.path for corpus in manifest.corpora]
    assert {manifest.corpus, *(entry.corpus for entry in manifest.ladder)} <= set(paths)
    assert len(set(paths)) == len(paths)
    for corpus in manifest.corpora:
        assert Path(corpus.path).name.startswith(f"{corpus.corpus_id}_")
        assert sha256_of_file(repository / corpus.path) == corpus.sha256
        # WHY: with other line ends, the same text has another hash and other artifacts.
        assert b"\r" not in (repository / corpus.path).read_bytes()
    # No text lies there undeclared.
    assert sorted(path.relative_to(repository).as_posix() for path in (repository / "corpus").iterdir()) == sorted(
        paths
    )


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
    "run missing": (lambda copy: shutil.rmtree(copy / "artifacts" / BIGRAM), f"run {BIGRAM}", "incomplete"),
    "metadata missing": (lambda copy: (copy / f"artifacts/{BIGRAM}/00_meta.json").unlink(), BIGRAM, "incomplete"),
    "weights missing": (
        lambda copy: (copy / f"artifacts/{BIGRAM}/02_model_weights.csv").unlink(),
        BIGRAM,
        "incomplete",
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


def test_check_of_an_unknown_rung_is_refused(toy_gpt: Callable[..., Any], copy: Path) -> None:
    replace_text(copy / MANIFEST_NAME, '"unigram"', '"trigram"')
    outcome = toy_gpt("check", "--base-dir", copy)
    assert outcome.code == 2
    assert "'trigram'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_problems_names_every_declaration(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "corpus/001_animals.txt").unlink()
    found = dict(problems(copy, load_manifest(copy)))
    assert found["corpus corpus/001_animals.txt"] == "missing"
    assert [problem for what, problem in found.items() if "corpus/001" not in what] == [None] * (len(found) - 1)
    assert check_project(copy) == 1
    assert capsys.readouterr().out.count("\n") == len(found) + 1


# --- the committed runs -------------------------------------------------------------------------------------------


def committed_files(folder: Path) -> dict[str, bytes]:
    return {
        f"{name}/{path.relative_to(folder / name).as_posix()}": path.read_bytes()
        for name in ("artifacts", "outputs")
        for path in (folder / name).rglob("*")
        if path.is_file() and "bench" not in path.relative_to(folder).parts  # printed by benchmarks, not by training
    }


def test_training_again_gives_the_committed_bytes(
    toy_gpt: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    # The manifest's name stands in the metadata; a clone may lie in a folder of any name.
    shutil.copy(repository / MANIFEST_NAME, tmp_path)
    assert toy_gpt("train", "--base-dir", tmp_path).code == 0
    # WHY not the networks: they learn for minutes. `toy-gpt ladder` without --models trains them too.
    kinds = [level.kind for level in LEVELS if not issubclass(level.model, NeuralModel)]
    assert toy_gpt("ladder", "--base-dir", tmp_path, "--models", *kinds).code == 0
    made, committed = committed_files(tmp_path), committed_files(repository)
    networks = [level.folder for level in LEVELS if issubclass(level.model, NeuralModel)]
    assert sorted(made) == sorted(name for name in committed if not set(networks) & set(Path(name).parts))
    assert [name for name, content in made.items() if content != committed[name]] == []


def declared_folders() -> list[str]:
    return ["", *(settings.run_name for settings in declared_runs(Path()))]


@pytest.mark.parametrize("name", declared_folders())
def test_committed_run_is_the_model_its_metadata_describes(repository: Path, name: str) -> None:
    run = load_run(repository / "artifacts" / name)
    corpus = repository / run.meta["corpus"]["path"]
    tokens = read_tokens(corpus, run.tokenizer)
    num_train = int(round(len(tokens) * (1 - run.meta["val_fraction"]), 6))
    vocab = Vocabulary(tokens[:num_train], further=tokens[num_train:])
    if num_train < len(tokens):
        held_out = score(run.model, vocab.encode(tokens), num_train)
        assert round(held_out.loss, 6) == run.meta["metrics"]["val_loss"]
        assert round(held_out.accuracy, 6) == run.meta["metrics"]["val_accuracy"]
    tokens = tokens[:num_train]
    assert [run.vocab.get_id_token(i) for i in range(run.vocab.vocab_size())] == vocab.tokens()
    assert [run.vocab.get_token_frequency(token) for token in vocab.tokens()] == [
        tokens.count(t) for t in vocab.tokens()
    ]
    assert run.meta["start_tokens"] == tokens[: run.model.context_size]
    is_network = isinstance(run.model, NeuralModel)
    begin = len(tokens) - SCORED_OF_TRAINING if is_network else run.model.context_size
    final = score(run.model, vocab.encode(tokens), begin)
    assert round(final.loss, 6) == run.meta["metrics"]["train_loss"]
    assert round(final.accuracy, 6) == run.meta["metrics"]["train_accuracy"]
    assert run.meta["loss_floor"] <= run.meta["metrics"]["train_loss"]
    log = (repository / "outputs" / name / "train_log.csv").read_text("utf-8").splitlines()
    assert log[0].startswith("epoch,avg_loss,accuracy")
    epochs = [float(line.split(",")[0]) for line in log[1:]]
    assert epochs[-1] == run.meta["training"]["epochs"]
    assert is_network or epochs == [i + 1 for i in range(len(epochs))]
    losses = [float(line.split(",")[1]) for line in log[1:]]
    assert losses[-1] < losses[0] or len(losses) == 1


def test_no_committed_file_names_a_machine(repository: Path) -> None:
    for name, content in committed_files(repository).items():
        assert b"\r" not in content, name
        assert os.fspath(repository).encode() not in content, name
        if name.endswith(".json"):
            meta = json.loads(content)
            assert (meta["repo_name"], meta["schema_version"]) == ("toy-gpt-train", 1)
            assert "\\" not in meta["corpus"]["path"]
            assert not Path(meta["corpus"]["path"]).is_absolute()


# --- the ladder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "context_size"),
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
def test_level_for_kind(kind: str, code: int, context_size: int) -> None:
    level = level_for_kind(kind)
    assert (level.code, level.context_size) == (code, context_size)
    assert level_for_kind(kind, context_size) == level
    # The name of a rung finds that rung.
    assert level_for_kind(level.kind) == level


@pytest.mark.parametrize(
    "kind", ["", "trigram", "context-", "context--1", "context-10000", "context-\u0663", "context-2\n"]
)
def test_level_for_unknown_kind(kind: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        level_for_kind(kind)


def test_level_takes_a_context_where_it_leaves_it_open() -> None:
    assert level_for_kind("kneser-ney", 7).context_size == 7
    assert level_for_kind("kneser-ney", 0).model is KneserNeyModel
    with pytest.raises(InputError, match="at least 0"):
        level_for_kind("kneser-ney", -1)
    with pytest.raises(InputError, match="does not fit"):
        level_for_kind("context-3", 2)


def test_levels_climb() -> None:
    codes = [level.code for level in LEVELS]
    assert codes == sorted(set(codes))
    assert len({level.kind for level in LEVELS}) == len(LEVELS)
    assert [level.folder for level in LEVELS[:5]] == [
        "100-unigram",
        "200-bigram",
        "300-context-2",
        "400-context-3",
        "450-kneser-ney",
    ]


def test_declared_runs_are_the_manifests() -> None:
    runs = [
        (settings.level.kind, settings.corpus_path.relative_to(RESOURCE_ROOT).as_posix())
        for settings in declared_runs(Path())
    ]
    assert runs == [(kind, entry.corpus) for entry in load_manifest().ladder for kind in entry.models]


def test_run_name() -> None:
    assert run_name(level_for_kind("context-5"), Path("a/b c.tar.txt")) == "ladder/400-context-5/b c.tar"


def test_ladder_leaves_the_default_run_alone(toy_gpt: Callable[..., Any], tiny_corpus: Path, tmp_path: Path) -> None:
    result = train_run(TrainSettings(level_for_kind("bigram"), tiny_corpus, tmp_path, epochs=1))
    before = {path: path.read_bytes() for path in result.paths}
    options = ("--models", "bigram", "kneser-ney", "--base-dir", tmp_path)
    assert toy_gpt("ladder", "--corpus", tiny_corpus, *options).code == 0
    assert {path: path.read_bytes() for path in result.paths} == before
