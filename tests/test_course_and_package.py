"""test_course_and_package.py - The course is the specification of the package: same losses, same files, same text."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train import d_train, io_artifacts
from toy_gpt_train.a_tokenizer import ROOT
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.d_train import make_training_pairs, train_model
from toy_gpt_train.e_infer import generate_tokens, load_run

LIMITS = {"all": (10_000, 2_000_000), "observed": (0.5, 2_000_000), "sparse": (0.5, -1)}

words = st.sampled_from(["a", "b", "c", "|", "*", "\\", '"', ",", "é", "|*"]) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=3
)
texts = st.lists(words, min_size=1, max_size=40)
rates = st.sampled_from([0.001, 0.1, 0.5, 2.0, 30.0])
contexts = st.integers(0, 5)
often = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def name_of(context: int) -> str:
    return {0: "unigram", 1: "bigram"}.get(context, f"context-{context}")


def files_below(base: Path) -> dict[str, bytes]:
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}


@often
@given(texts, contexts, rates, st.integers(1, 4))
@example(["a"] * 9, 3, 30.0, 4)
@example(["a", "b", "a", "b", "b"], 1, 30.0, 4)
@example(["b"] * 5 + ["a"], 0, 0.1, 4)
def test_same_losses(tokens, context, learning_rate, epochs):
    assume(len(tokens) > context)
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context)
    history = train_model(model, make_training_pairs(vocab.encode(tokens), context), learning_rate, epochs)
    run = tg.train(name_of(context), text=" ".join(tokens), epochs=epochs, learning_rate=learning_rate)
    assert [record["epoch"] for record in run.history] == [record["epoch"] for record in history]
    for record, own in zip(run.history, history, strict=True):
        assert record["avg_loss"] == pytest.approx(own["avg_loss"], abs=1e-9, rel=0)
        assert record["accuracy"] == own["accuracy"]


@often
@given(texts, contexts, rates, st.integers(1, 3), st.sampled_from(sorted(LIMITS)))
def test_same_files(tmp_path_factory, tokens, context, learning_rate, epochs, layout):
    assume(len(tokens) > context)
    # Both bases have the same name, for the metadata has it too.
    course, package = (tmp_path_factory.mktemp("base") / "run" for _ in range(2))
    for base in (course, package):
        base.mkdir()
        (base / "text.txt").write_bytes("\n".join(tokens).encode())
    with pytest.MonkeyPatch.context() as patch:
        # WHY here: tables small enough for a property test always have the layout "all".
        patch.setattr(io_artifacts, "ALL_ROWS_LIMIT", LIMITS[layout][0])
        patch.setattr(io_artifacts, "DENSE_CELLS_LIMIT", LIMITS[layout][1])
        d_train.train_run(course / "text.txt", context, learning_rate, epochs, course)
        run = tg.train(name_of(context), package / "text.txt", epochs=epochs, learning_rate=learning_rate)
        run.save(package)
    own, theirs = files_below(course), files_below(package)
    meta, package_meta = (json.loads(files.pop("artifacts/00_meta.json")) for files in (own, theirs))
    assert theirs == own
    assert {name: package_meta.get(name) for name in meta} == meta  # the package may say more


@often
@given(texts, contexts, rates)
def test_each_reads_what_the_other_wrote(tmp_path_factory, tokens, context, learning_rate):
    assume(len(tokens) > context)
    base = tmp_path_factory.mktemp("base")
    (base / "text.txt").write_bytes(" ".join(tokens).encode())
    d_train.train_run(base / "text.txt", context, learning_rate, 3, base)
    loaded = tg.load(base)
    ids = Vocabulary(tokens).encode(tokens)
    _, vocab, model = load_run(base)
    probs = model.forward(*ids[:context])
    assert loaded.model.next_probs(ids[:context]) == pytest.approx(probs, abs=1e-12, rel=0)
    tg.train(name_of(context), base / "text.txt", epochs=3, learning_rate=learning_rate).save(base)
    _, _, again = load_run(base)
    assert again.weights == model.weights
    assert vocab.vocab_size() == loaded.model.vocab_size


@pytest.mark.parametrize("context", range(4))
def test_same_greedy_text(tmp_path, context):
    corpus = ROOT / "corpus" / "001_animals.txt"
    d_train.train_run(corpus, context, 0.1, 50, tmp_path)
    meta, vocab, model = load_run(tmp_path)
    text = " ".join(generate_tokens(model, vocab, meta["start_tokens"], 30))
    assert tg.train(name_of(context), corpus).generate(num=30, temperature=0) == text


def test_animals_are_the_committed_run(tmp_path):
    (tmp_path / "SE_MANIFEST.toml").write_bytes((ROOT / "SE_MANIFEST.toml").read_bytes())
    d_train.train_run(ROOT / "corpus/001_animals.txt", 3, 0.1, 50, tmp_path)
    name = "ladder/400-context-3/001_animals"
    assert files_below(tmp_path / "artifacts") == files_below(ROOT / "artifacts" / name)
    assert files_below(tmp_path / "outputs") == files_below(ROOT / "outputs" / name)
