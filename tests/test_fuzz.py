"""test_fuzz.py - Damaged and exchanged files: refused or named, never silently another model.

The damage is that of benchmarks/attack.py, which runs longer; here are its first cases, and some that are aimed.
"""

import importlib.util
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

import toy_gpt_train as tg
from toy_gpt_train.artifacts import metadata, run_folder
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import load_manifest

CASES = 1600  # of the fuzzer, 100 for each kind of run
META, VOCABULARY = "00_meta.json", "01_vocabulary.csv"


def load_attack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attack", Path(__file__).parent.parent / "benchmarks" / "attack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


attack = load_attack()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every kind, and a tokenizer, by name."""
    folder = tmp_path_factory.mktemp("good")
    attack.build(folder)
    return folder


@pytest.mark.slow
def test_damage_is_refused_or_noticed(good: Path, tmp_path: Path) -> None:
    cases = list(attack.attacks(good, tmp_path, range(CASES)))
    assert [case for case in cases if case.outcome in ("silent other", "crashed")] == []
    found = Counter(case.outcome for case in cases)
    assert len(cases) == CASES == sum(found.values())
    assert found["refused"] > found["noticed"] > found["same"] > 0
    assert max(case.seconds for case in cases) < 10


@pytest.mark.slow
def test_the_fuzzer_would_see_a_silent_change(good: Path, tmp_path: Path) -> None:
    with mock.patch.object(run_folder, "_changed_files", return_value=[]):
        cases = list(attack.attacks(good, tmp_path, range(160)))
    assert sum(case.outcome == "silent other" for case in cases) > 10


def test_a_case_depends_on_its_number_only(good: Path, tmp_path: Path) -> None:
    whole = list(attack.attacks(good, tmp_path / "a", range(40, 60)))
    (one,) = attack.attacks(good, tmp_path / "b", range(57, 58))
    assert (one.what, one.outcome, one.said.rpartition("/")[2]) == (
        whole[17].what,
        whole[17].outcome,
        whole[17].said.rpartition("/")[2],
    )


# --- aimed --------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``copy("gpt")`` gives the artifacts of a run that may be changed."""

    def artifacts(kind: str) -> Path:
        return Path(shutil.copytree(good / kind, tmp_path / kind)) / "artifacts"

    return artifacts


def edit_meta(artifacts: Path, edit: Callable[[dict[str, Any]], object], *, forget: bool = False) -> None:
    """Change the metadata; ``forget`` the hashes, so that only contradictions can be noticed."""
    meta = json.loads((artifacts / META).read_bytes())
    edit(meta)
    if forget:
        del meta["sha256"]
    (artifacts / META).write_text(json.dumps(meta), encoding="utf-8")


def edit_lines(path: Path, edit: Callable[[list[str]], object]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    edit(lines)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")


def exchange(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def test_exchanged_matrices_are_named(copy: Callable[[str], Path], toy_gpt: Callable[..., Any]) -> None:
    artifacts = copy("attention")
    before = tg.load(artifacts)
    assert before.changed_files == []
    assert toy_gpt("infer", "--base-dir", artifacts, "--strict").err == ""
    exchange(artifacts / "05_W_Q.csv", artifacts / "06_W_K.csv")
    after = tg.load(artifacts)
    assert after.changed_files == ["05_W_Q.csv", "06_W_K.csv"]
    assert after.next("the cat") != before.next("the cat")
    message = "changed since training: 05_W_Q.csv, 06_W_K.csv"
    with pytest.raises(InputError, match=f"artifacts: {message}$"):
        tg.load(artifacts, strict=True)
    text = artifacts.parent / "text.txt"
    text.write_text("the cat sees", encoding="utf-8")
    for command in (("infer",), ("infer", "--json"), ("evaluate", "--text", text), ("chat",)):
        outcome = toy_gpt(*command, "--base-dir", artifacts)
        assert (outcome.code, outcome.err) == (0, f"toy-gpt: {message}\n")
        outcome = toy_gpt(*command, "--base-dir", artifacts, "--strict")
        assert outcome.refused
        assert outcome.err == f"toy-gpt: error: {artifacts}: {message}\n"


def test_a_run_without_hashes(copy: Callable[[str], Path], toy_gpt: Callable[..., Any]) -> None:
    # As runs had none before.
    artifacts = copy("all")
    edit_meta(artifacts, lambda meta: None, forget=True)
    outcome = toy_gpt("infer", "--base-dir", artifacts)
    assert (outcome.code, outcome.err, tg.load(artifacts).changed_files) == (0, "", [])
    with pytest.raises(InputError, match=r"00_meta\.json has no sha256"):
        tg.load(artifacts, strict=True)


def test_a_damaged_name_of_the_hashes_does_not_silence_them(copy: Callable[[str], Path]) -> None:
    artifacts = copy("all")
    edit_meta(artifacts, lambda meta: meta.update(sha226=meta["sha256"]), forget=True)
    with pytest.raises(InputError, match=r"00_meta\.json: no sha256, but 'sha226'"):
        tg.load(artifacts)


def test_every_file_has_its_hash(good: Path) -> None:
    for kind in attack.KINDS:
        artifacts = good / kind / "artifacts"
        meta = json.loads((artifacts / META).read_bytes())
        files = {path.name for path in artifacts.iterdir()} | {"train_log.csv"}
        assert set(meta["sha256"]) == files
        assert set(meta["artifacts"]) == files - {"train_log.csv"}
        assert meta["sha256"][META] == metadata.own_sha256(artifacts / META)
        lines = (artifacts / META).read_text(encoding="utf-8").split("\n")
        del lines[next(i for i, line in enumerate(lines) if meta["sha256"][META] in line)]
        (artifacts.parent / "without").write_text("\n".join(lines), encoding="utf-8", newline="")
        assert metadata.own_sha256(artifacts.parent / "without") == meta["sha256"][META]
        (artifacts.parent / "without").unlink()


def swap_tokens(lines: list[str]) -> None:
    """Exchange the names of the last token and the one before the last but one; none of them needs quotes."""
    (one_id, one, one_count), (other_id, other, other_count) = (lines[i].split(",") for i in (-1, -3))
    lines[-1], lines[-3] = f"{one_id},{other},{one_count}", f"{other_id},{one},{other_count}"


CONTRADICTIONS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "two tokens exchanged under tensors": (
        "safetensors",
        lambda folder: edit_lines(folder / VOCABULARY, swap_tokens),
        r"01_vocabulary\.csv: the tokens are not in sorted order",
    ),
    "two tokens exchanged under a sparse table": (
        "sparse",
        lambda folder: edit_lines(folder / VOCABULARY, swap_tokens),
        r"01_vocabulary\.csv: the tokens are not in sorted order",
    ),
    "two tokens exchanged under a dense table": (
        "all",
        lambda folder: edit_lines(folder / VOCABULARY, swap_tokens),
        r"02_model_weights\.csv: the header is not",
    ),
    "a count of Kneser-Ney": (
        "kneser-ney",
        lambda folder: edit_lines(folder / "02_counts.csv", lambda lines: lines.append(lines.pop() + "0")),
        r"02_counts\.csv: .* is counted \d+ times, which does not fit its frequency of \d+ in 01_vocabulary\.csv",
    ),
    "a frequency of Kneser-Ney": (
        "kneser-ney",
        lambda folder: edit_lines(folder / VOCABULARY, lambda lines: lines.append(lines.pop() + "0")),
        r"02_counts\.csv: .* is counted \d+ times, which does not fit its frequency of \d+0 in",
    ),
    "a count of an expert": (
        "mixture",
        lambda folder: edit_lines(folder / "02_counts_4.csv", lambda lines: lines.append(lines.pop() + "0")),
        r"02_counts_4\.csv: .* is counted",
    ),
    "a discount that takes next to nothing": (
        "mixture",
        lambda folder: edit_lines(
            folder / "03_discounts.csv", lambda lines: lines.__setitem__(1, "1,0,1e-80,1e-80,1e-80")
        ),
        "a discount takes nothing, or more than was counted",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_files_that_contradict_each_other_are_refused(copy: Callable[[str], Path], what: str) -> None:
    kind, edit, message = CONTRADICTIONS[what]
    artifacts = copy(kind)
    edit_meta(artifacts, lambda meta: None, forget=True)
    edit(artifacts)
    with pytest.raises(InputError, match=message):
        tg.load(artifacts)


START_TOKENS: dict[str, tuple[Callable[[list[str]], object], str]] = {
    "one more": (lambda tokens: tokens.append(tokens[0]), r"\d+ start_tokens for a context of \d+"),
    "one fewer": (lambda tokens: tokens.pop(), r"\d+ start_tokens for a context of \d+"),
    "an unknown one": (lambda tokens: tokens.__setitem__(0, "zzz"), "start_tokens has 'zzz' more often than"),
    "a rare one": (lambda tokens: tokens.__setitem__(slice(None), ["\\"] * len(tokens)), "more often than"),
}


@pytest.mark.parametrize("what", START_TOKENS)
@pytest.mark.parametrize("kind", ["observed", "kneser-ney", "attention", "safetensors"])
def test_start_tokens_are_those_of_the_text(copy: Callable[[str], Path], kind: str, what: str) -> None:
    edit, message = START_TOKENS[what]
    artifacts = copy(kind)
    edit_meta(artifacts, lambda meta: edit(meta["start_tokens"]), forget=True)
    if (kind, what) == ("observed", "a rare one"):  # two of a token that is there three times
        assert tg.load(artifacts).meta["start_tokens"] == ["\\", "\\"]
        return
    with pytest.raises(InputError, match=message):
        tg.load(artifacts)


@pytest.mark.parametrize("size", [10**8, 10**20])
def test_a_context_that_no_text_has(copy: Callable[[str], Path], size: int) -> None:
    artifacts = copy("kneser-ney")
    edit_meta(artifacts, lambda meta: meta.update(context_size=size), forget=True)
    message = "100000000, but the model has learned 84 tokens" if size == 10**8 else "below 0, or far too large"
    with pytest.raises(InputError, match=f"context_size is {message}"):
        tg.load(artifacts)


def test_check_names_what_has_changed(tmp_path: Path, repository: Path, toy_gpt: Callable[..., Any]) -> None:
    for name in ("artifacts", "outputs", "corpus"):
        shutil.copytree(repository / name, tmp_path / name)
    shutil.copy(repository / "SE_MANIFEST.toml", tmp_path)
    run = "ladder/600-attention/030_stories"
    exchange(tmp_path / "artifacts" / run / "05_W_Q.csv", tmp_path / "artifacts" / run / "06_W_K.csv")
    outcome = toy_gpt("check", "--base-dir", tmp_path)
    wrong = [line for line in outcome.out.split("\n") if line.startswith("WRONG")]
    assert wrong == [f"WRONG run {run}: changed since training: 05_W_Q.csv, 06_W_K.csv"]
    assert outcome.code == 1


def test_a_committed_run_has_a_log_that_may_stay_behind(tmp_path: Path, repository: Path) -> None:
    # The artifacts can be taken elsewhere; a log that is there must be theirs.
    shutil.copytree(repository / "artifacts/ladder/200-bigram/001_animals", tmp_path / "artifacts")
    assert tg.load(tmp_path, strict=True).history == []
    (tmp_path / "outputs").mkdir()
    shutil.copy(repository / "outputs/ladder/200-bigram/000_cat_dog/train_log.csv", tmp_path / "outputs")
    assert tg.load(tmp_path).changed_files == ["train_log.csv"]


def test_a_damaged_manifest_is_read_or_refused(tmp_path: Path, repository: Path) -> None:
    content = (repository / "SE_MANIFEST.toml").read_bytes()
    messages: list[str] = []
    for number in range(400):
        draw = random.Random(number)
        (tmp_path / "SE_MANIFEST.toml").write_bytes(attack.damage(content, draw)[1])
        try:
            load_manifest(tmp_path)
        except InputError as error:
            messages.append(str(error))
    assert 100 < len(messages) < 400
    assert not [message for message in messages if "\n" in message or len(message) > 500]
