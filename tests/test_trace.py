"""Where a probability comes from, and what is left when lines are forgotten."""

import json
import shutil
from array import array
from collections import Counter
from math import isclose
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import run_in_process as cli
from toy_gpt_train.errors import InputError
from toy_gpt_train.forgetting import forget
from toy_gpt_train.inference.trace import TrainingIndex, by_line, trace
from toy_gpt_train.learned_text import LearnedText, find_text, lines_of
from toy_gpt_train.models.kneser_ney import KneserNey
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.tracing import index_of, keep_index

TEXT = "the cat sees the dog .\nthe dog sees a cat .\n\na cat runs to the dog .\nthe cat runs .\n"
IDS = st.lists(st.integers(0, 3), min_size=8, max_size=60)


def run_in(folder: Path, text: str = TEXT, model: str = "kneser-ney", **how) -> tg.Run:
    """Train on a file in a folder, and save the run there."""
    corpus = folder / "corpus.txt"
    corpus.write_text(text, encoding="utf-8", newline="")
    return tg.train(model, corpus, save_to=folder, **how)


def artifacts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "artifacts").iterdir() if path.is_file()}


# --- finding -------------------------------------------------------------------------------------------------


@given(ids=IDS, phrase=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_every_place_of_a_phrase_is_found(ids, phrase):
    plain = [i for i in range(len(ids)) if ids[i : i + len(phrase)] == phrase]
    assert TrainingIndex(ids, [0], longest=4).find(phrase) == plain


def test_lines_are_those_of_an_editor():
    text = LearnedText(tg.run.chosen_corpus(None, "a b\r\nc\n\n d e"), lines_of("a b\r\nc\n\n d e"), "")
    run = tg.train("bigram", text="a b\r\nc\n\n d e", epochs=1)
    assert text.line_starts(run.tokenizer) == [0, 2, 3, 3]
    index = TrainingIndex([0, 1, 2, 3, 4], [0, 2, 3, 3], 2)
    assert [index.line_of(position) for position in range(5)] == [1, 1, 2, 4, 4]
    assert [list(index.line(number)) for number in (1, 2, 3, 4)] == [[0, 1], [2], [], [3, 4]]


# --- shares --------------------------------------------------------------------------------------------------


def test_shares_worked_out_by_hand():
    # "a b a b a c": after a, b came twice and c once. Nothing is counted three times: the discounts are 0.5, 1, 1.5.
    model = KneserNey(3, 1)
    ids = [0, 1, 0, 1, 0, 2]
    list(model.fit(tg.models.base.Text(ids, 6)))
    found = trace(model, TrainingIndex(ids, [0, 2, 4], 2), [0], 1)
    # Longest: (2 - 1) / 3, shared by two places. Below: b came after one kind of token, a after one, c after one:
    # (1 - 0.5) / 3, and half of the mass is left; what the longest leaves is (1 + 0.5) / 3 = 0.5.
    assert isclose(found.probability, 1 / 3 + 0.5 * (0.5 / 3) + 0.5 * 0.5 / 3)
    assert isclose(found.rest, 0.5 * 0.5 / 3)
    each = 1 / 6 + 0.5 * (0.5 / 3) / 2
    assert [(place.position, place.length) for place in found.places] == [(1, 1), (3, 1)]
    assert all(isclose(place.probability, each) for place in found.places)
    assert [share.number for share in by_line(found, TrainingIndex(ids, [0, 2, 4], 2))] == [1, 2]


@given(ids=IDS, context=st.integers(0, 3), model=st.sampled_from(["kneser-ney", "table"]))
@settings(max_examples=60)
def test_the_shares_of_all_places_are_the_probability(ids, context, model):
    text = " ".join("abcd"[i] for i in (*range(4), *ids))
    size = max(context, 1) if model == "kneser-ney" else context
    how = {"context": size} if model == "kneser-ney" else {"epochs": 2}
    run = tg.train("kneser-ney" if model == "kneser-ney" else f"context-{size}", text=text, **how)
    learned = run.tokenizer.encode(text)
    index = TrainingIndex(learned, [0], size + 1)
    before = learned[-size:] if size else []
    probs = run.model.next_probs(before)
    for token_id in range(4):
        found = trace(run.model, index, before, token_id)
        assert isclose(found.probability, probs[token_id], abs_tol=1e-12)
        assert all(learned[place.position] == token_id for place in found.places)
        assert all(
            learned[place.position - place.length : place.position] == before[len(before) - place.length :]
            for place in found.places
        )
        # Each place that the longest context counted is there.
        ends = [i for i in range(size, len(learned)) if learned[i - size : i] == before and learned[i] == token_id]
        assert {place.position for place in found.places if place.length == size} == set(ends)


def test_a_network_cannot_be_traced():
    run = tg.train("gpt", text=TEXT, steps=1)
    with pytest.raises(InputError, match="only kneser-ney and the tables"):
        trace(run.model, TrainingIndex([0], [0], 2), run.start_ids("the"), 0)


# --- the index in a file -------------------------------------------------------------------------------------


def test_a_kept_index_needs_the_text_no_more(tmp_path):
    run = run_in(tmp_path)
    path = keep_index(tmp_path)
    assert json.loads((tmp_path / "artifacts/00_meta.json").read_text())["artifacts"][path.name] == path.name
    made = index_of(run, tmp_path, tmp_path / "corpus.txt")
    (tmp_path / "corpus.txt").unlink()
    kept = index_of(tg.load(tmp_path), tmp_path)
    assert (kept.text, list(kept.order), list(kept.line_starts)) == (made.text, made.order, list(made.line_starts))
    assert not tg.load(tmp_path, strict=True).changed_files


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("training_ids", array("B", [200] * 20)),
        ("suffix_array", array("B", [200] * 20)),
        ("suffix_array", array("B", [0])),
        ("line_starts", array("B", [3, 1])),
        ("line_starts", array("B", [])),
        ("line_starts", array("B", [0, 99])),
        ("other", array("B", [0])),
        ("line_starts", array("f", [0])),
    ],
)
def test_a_damaged_index_is_refused(name, numbers):
    good = TrainingIndex([0, 1] * 10, [0, 5], 2).tensors()
    assert TrainingIndex.from_tensors(good, 2, vocab_size=2).find([1, 0]) == list(range(1, 19, 2))
    with pytest.raises(ValueError, match=r"whole numbers|that there is not|one after the other"):
        TrainingIndex.from_tensors({**good, name: ((len(numbers),), numbers)}, 2, vocab_size=2)


def test_another_text_is_refused(tmp_path):
    run = run_in(tmp_path)
    (tmp_path / "corpus.txt").write_text(TEXT + "more .\n")
    with pytest.raises(InputError, match="another text"):
        index_of(run, tmp_path)
    (tmp_path / "corpus.txt").unlink()
    with pytest.raises(InputError, match="is not here"):
        index_of(run, tmp_path)


# --- forgetting ----------------------------------------------------------------------------------------------


def forgets_exactly(folder: Path, text: str, first: int, last: int, tokenizer: str, context: int) -> None:
    """Compare forgetting with training on the other lines, with the same vocabulary."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    run = run_in(folder / "a", text, tokenizer=tokenizer, context=context)
    run.tokenizer.save(folder / "tokenizer")
    keep_index(folder / "a")
    done = forget(folder / "a", first, last)
    lines = text.splitlines(keepends=True)
    rest = "".join(lines[: first - 1] + lines[last:])
    other = run_in(folder / "b", rest, tokenizer=folder / "tokenizer", context=context)
    keep_index(folder / "b")
    assert done.num_left == len(other.tokenizer.encode(rest))
    forgotten, learned = artifacts(folder / "a"), artifacts(folder / "b")
    assert forgotten.keys() == learned.keys()
    for name in learned.keys() - {"00_meta.json", "04_trace.safetensors"}:
        assert forgotten[name] == learned[name], name
    ours, theirs = (json.loads(files["00_meta.json"]) for files in (forgotten, learned))
    assert ours.pop("forgotten") == [[first, last]]
    for meta in (ours, theirs):
        # The name of the folder; and the index numbers the lines as they were.
        del meta["repo_name"], meta["sha256"]["00_meta.json"], meta["sha256"]["04_trace.safetensors"]
    assert ours == theirs
    log = Path("outputs/train_log.csv")
    assert (folder / "a" / log).read_bytes() == (folder / "b" / log).read_bytes()


@pytest.mark.parametrize("lines", [(1, 1), (2, 3), (4, 4), (5, 5), (2, 5)])
@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_forgotten_lines_leave_no_trace(tmp_path, lines, tokenizer):
    forgets_exactly(tmp_path / "runs", TEXT, *lines, tokenizer, context=2)


@given(
    lines=st.lists(st.text("ab ", min_size=0, max_size=9), min_size=4, max_size=9),
    first=st.integers(1, 3),
    more=st.integers(0, 1),
    context=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_any_lines_can_be_forgotten(tmp_path_factory, lines, first, more, context):
    text = "".join(f"{line}\n" for line in [*lines, "ab ba ab", "a b"])
    forgets_exactly(tmp_path_factory.mktemp("forget") / "runs", text, first, first + more, "char", context)


def test_one_part_after_another(tmp_path):
    run_in(tmp_path, context=2)
    forget(tmp_path, 1, 1)
    forget(tmp_path, 5, 5)
    meta = json.loads((tmp_path / "artifacts/00_meta.json").read_text())
    assert meta["forgotten"] == [[1, 1], [5, 5]]
    run = tg.load(tmp_path)
    index = index_of(run, tmp_path)  # its lines have the numbers that they had
    found = trace(run.model, index, run.start_ids("runs to"), run.tokenizer.token_ids(["the"])[0])
    assert {share.number for share in by_line(found, index)} == {4}
    with pytest.raises(InputError, match="forgotten before"):
        forget(tmp_path, 1, 2)


def test_the_held_out_part_stays(tmp_path):
    run_in(tmp_path, TEXT * 4, context=2, val_fraction=0.25)
    before = json.loads((tmp_path / "artifacts/00_meta.json").read_text())
    forget(tmp_path, 2, 2)
    after = json.loads((tmp_path / "artifacts/00_meta.json").read_text())
    assert before["metrics"].keys() == after["metrics"].keys()
    text = find_text(after, tg.load(tmp_path).tokenizer, tmp_path)
    assert (TEXT * 4).endswith(text.held_out)
    assert Counter(text.lines)[""] == 1
    with pytest.raises(InputError, match="was not learned"):
        forget(tmp_path, 2, len(lines_of(TEXT * 4)))


@pytest.mark.parametrize("lines", ["0", "3-2", "99", "x", "1-", "-1", "1-2-3", "9999999999"])
def test_lines_that_there_are_not(tmp_path, lines):
    run_in(tmp_path)
    before = artifacts(tmp_path)
    assert cli("forget", "--base-dir", tmp_path, f"--lines={lines}").refused
    assert artifacts(tmp_path) == before


def test_all_lines_are_too_many(tmp_path):
    run_in(tmp_path)
    before = artifacts(tmp_path)
    assert cli("forget", "--base-dir", tmp_path, "--lines", "1-5").refused
    assert artifacts(tmp_path) == before


@pytest.mark.parametrize("model", ["bigram", "mixture"])
def test_only_counts_can_be_forgotten(tmp_path, model):
    run_in(tmp_path, TEXT * 3, model)
    answer = cli("forget", "--base-dir", tmp_path, "--lines", "1")
    assert answer.refused
    assert "only kneser-ney can forget" in answer.err


# --- on the command line -------------------------------------------------------------------------------------


def test_infer_names_the_lines(tmp_path):
    run_in(tmp_path, context=2)
    how = ("infer", "--base-dir", tmp_path, "--prompt", "runs to", "--num", 0)
    answer = cli(*how, "--trace", "the")
    assert answer.code == 0
    assert "line 4: a cat [runs to the] dog ." in answer.out
    data = json.loads(cli(*how, "--trace", "the", "--json").out)["trace"]
    assert data["lines"][0]["line"] == 4
    total = sum(line["probability"] for line in data["lines"]) + data["rest"]
    assert total <= data["probability"] + 1e-12
    assert cli(*how, "--trace", "zebra").refused
    assert cli(*how, "--trace", "--untrained").refused


@pytest.mark.parametrize("model", ["gpt", "mixture", "context-mixing"])
def test_an_index_that_nothing_could_use_is_refused_before_training(tmp_path, model):
    answer = cli("train", "--model", model, "--base-dir", tmp_path, "--trace")
    assert answer.refused
    assert f"--trace does not apply to {model}" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_copy_of_a_text_of_the_project_is_found_by_its_name(tmp_path):
    copy = shutil.copy(RESOURCE_ROOT / "corpus" / "000_cat_dog.txt", tmp_path)
    run = tg.train("kneser-ney", copy, save_to=tmp_path / "run")
    meta = tg.load(tmp_path / "run").meta
    assert meta["corpus"]["path"] == "000_cat_dog.txt"
    assert find_text(meta, run.tokenizer, tmp_path / "run").lines[0] == "the cat runs .\n"


def test_a_text_outside_the_folder_of_the_run_is_indexed(tmp_path):
    corpus = tmp_path / "elsewhere" / "corpus.txt"
    corpus.parent.mkdir()
    corpus.write_text(TEXT)
    base = tmp_path / "run"
    assert cli("train", "--model", "kneser-ney", "--corpus", corpus, "--base-dir", base, "--trace").code == 0
    corpus.unlink()
    assert cli("infer", "--base-dir", base, "--trace").code == 0


def test_metadata_that_name_no_path_are_refused(tmp_path):
    run = run_in(tmp_path)
    run.meta["corpus"]["path"] = 5
    with pytest.raises(InputError, match="which is no path"):
        index_of(run, tmp_path)


def test_train_keeps_the_index(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT)
    answer = cli("train", "--model", "kneser-ney", "--corpus", corpus, "--base-dir", tmp_path, "--trace")
    assert answer.code == 0
    assert (tmp_path / "artifacts/04_trace.safetensors").is_file()
    assert cli("infer", "--base-dir", tmp_path, "--trace").code == 0
