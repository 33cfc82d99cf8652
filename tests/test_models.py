"""What every model of the ladder promises: the interface of models/base.py, held for each of them."""

import random
from array import array
from dataclasses import replace
from itertools import islice
from math import fsum, isfinite, log

import pytest

from toy_gpt_train import run
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.generate import next_tokens
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, argmax, softmax
from toy_gpt_train.models import network
from toy_gpt_train.models.base import CONTEXT, MAX_VOCABULARY, Model, Text
from toy_gpt_train.models.registry import LADDER, find_model

TOKENS = ["\n", " ", ".", "a", "b", "c"]
V = len(TOKENS)
NAMES = [*(entry.name for entry in LADDER), "context-5"]
NETWORKS = [entry.name for entry in LADDER if entry.model_class.trains_in_steps]
CONTEXTS = {"kneser-ney": 3, **dict.fromkeys(NETWORKS, 3)}  # for the models that have a choice
TINY = {
    "steps": 3,
    "batch_size": 4,
    "embedding_dim": 4,
    "hidden_dim": 8,
    "heads": 2,
    "dropout": 0.1,
    "epochs": 2,
}


def random_text(size, seed):
    """Return ids of which few are frequent and most are rare."""
    return random.Random(seed).choices(range(V), [1 / (i + 1) for i in range(V)], k=size)


TEXT = random_text(300, 1)
NEW_TEXT = random_text(90, 2)


def settings_of(name, context=None, **more):
    """Return tiny settings, of those options that the model has."""
    entry = find_model(name)
    tiny = {option: value for option, value in {**TINY, **more}.items() if option in entry.model_class.options}
    return entry.model_class.settings(name, entry.chosen_context(context or CONTEXTS.get(name)), **tiny)


def untrained(name, vocab_size=V, **more):
    return find_model(name).model_class.build(vocab_size, settings_of(name, **more), seed=0)


def fitted(name, **more):
    model = untrained(name)
    history = list(model.fit(Text(TEXT, 280, TOKENS), settings_of(name), **more))
    return model, history


@pytest.fixture(scope="module")
def trained():
    """``trained("bigram")`` gives a tiny trained model, only to be read."""
    models = {}

    def model_of(name):
        if name not in models:
            models[name] = fitted(name)[0]
        return models[name]

    return model_of


def tolerance(name):
    """Return how far score() may be from next_probs(): a network scores with products of fixed precision."""
    return 1e-6 if name in NETWORKS else 1e-12


def beginnings(model, text=NEW_TEXT):
    """Return the beginnings of a text that are long enough, past the end of the first full context."""
    return [text[:end] for end in range(model.min_context, max(model.context_size, 10) + 12)]


def as_read(model, content):
    """Return a model made again from another's content, its metadata and file sizes included."""
    meta = {
        "vocab_size": model.vocab_size,
        "context_size": model.context_size,
        "start_tokens": TOKENS[:1] * model.context_size,
        **content.about,
    }
    again = type(model).from_meta(meta, 1_000_000)
    tables = {table.name: table for table in content.tables}
    expected = again.expected_tables(content.layout, TOKENS)
    if content.layout == "safetensors":
        again.load_tensors(content.tensors)
    for name, columns in expected.items():
        assert columns == tables[name].columns
    if expected:
        again.load_tables({name: iter(tables[name].rows) for name in expected})
    return again


def assert_equal_models(model, again, text=NEW_TEXT):
    assert again.vocab_size == model.vocab_size
    assert again.context_size == model.context_size
    assert again.num_parameters() == model.num_parameters()
    for ids in beginnings(model):
        assert again.next_probs(ids) == model.next_probs(ids)
        assert again.logits(ids) == model.logits(ids)
    assert list(again.score(text)) == list(model.score(text))


# --- predicting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_next_probs_is_a_distribution_and_agrees_with_logits(trained, name):
    model = trained(name)
    different = set()
    for ids in beginnings(model):
        probs, logits = model.next_probs(ids), model.logits(ids)
        assert len(probs) == len(logits) == V
        assert fsum(probs) == pytest.approx(1, abs=1e-12)
        assert all(0 <= p <= 1 for p in probs)
        assert all(isfinite(logit) for logit in logits)
        assert softmax(logits) == pytest.approx(probs, abs=1e-9)
        different.add(tuple(probs))
    assert (len(different) > 1) == (model.context_size > 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_depends_on_the_last_n_tokens_only(trained, name):
    model = trained(name)
    for ids in beginnings(model):
        last = ids[max(len(ids) - model.context_size, 0) :]
        assert model.next_probs(tuple(last)) == model.next_probs(ids)
        if len(last) == model.context_size:
            assert model.next_probs([*random_text(70, 5), *last]) == model.next_probs(ids)
        assert model.context(ids) == tuple(last)


@pytest.mark.parametrize("name", NAMES)
def test_score_says_what_next_probs_says_token_by_token(trained, name):
    # WHY a context of 3: a network scores half a window at a time, which is one token then.
    model = trained(name)
    predictions = list(model.score(NEW_TEXT))
    assert len(predictions) == len(NEW_TEXT)
    for position, prediction in enumerate(predictions):
        assert prediction.context_seen in (True, False, None)
        if position < model.min_context:
            assert prediction[:2] == (1 / V, 0)
            continue
        probs = model.next_probs(NEW_TEXT[:position])
        assert prediction.probability == pytest.approx(probs[NEW_TEXT[position]], abs=tolerance(name))
        assert probs[prediction.most_likely] == pytest.approx(max(probs), abs=tolerance(name))
    for start in (1, 7, 50, len(NEW_TEXT)):
        late = list(model.score(NEW_TEXT, start))
        assert len(late) == len(NEW_TEXT) - start
        for prediction, early in zip(late, predictions[start:], strict=True):
            assert prediction.probability == pytest.approx(early.probability, abs=tolerance(name))
            assert prediction.context_seen == early.context_seen


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_scores_windows_as_it_predicts(name):
    # A context of 8 is scored 4 tokens at a time; within the first window all have their whole context.
    model = untrained(name, context=8)
    text = NEW_TEXT[:9]
    for position, prediction in enumerate(model.score(text, model.min_context), start=model.min_context):
        probs = model.next_probs(text[:position])
        assert prediction.probability == pytest.approx(probs[text[position]], abs=tolerance(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_score_of_the_interface_is_that_of_every_model(trained, name):
    model = trained(name)
    plain = list(Model.score(model, NEW_TEXT))
    for prediction, expected in zip(model.score(NEW_TEXT), plain, strict=True):
        assert prediction.probability == pytest.approx(expected.probability, abs=tolerance(name))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_tokens_are_scored_and_do_no_harm(trained, name):
    model = trained(name)
    text = [*NEW_TEXT[:20], V, *NEW_TEXT[:20], V, V, 0]
    predictions = list(model.score(text))
    assert len(predictions) == len(text)
    assert all(0 <= prediction.most_likely < V for prediction in predictions)
    assert predictions[:20] == list(model.score(text[:20]))
    assert not any(prediction.context_seen for prediction in predictions[21 : 21 + min(model.context_size, 3)])
    if name != "mixture":  # its words reach further back
        same = slice(20 - 12, 20), slice(41 - 12, 41)
        early, late = (predictions[part] for part in same)
        assert [p.probability for p in late] == pytest.approx([p.probability for p in early], abs=tolerance(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_changes_no_number(trained, name):
    model = trained(name)
    cache = model.new_cache()
    for ids in beginnings(model):  # grows past the end of the window
        assert model.next_probs(ids, cache) == pytest.approx(model.next_probs(ids), abs=1e-12)
        assert model.logits(ids, model.new_cache()) == pytest.approx(model.logits(ids), abs=1e-12)
    shorter = NEW_TEXT[3 : 3 + max(model.min_context, 2)]  # another text than the cache knows
    assert model.next_probs(shorter, cache) == pytest.approx(model.next_probs(shorter), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_two_texts_grow_side_by_side(trained, name):
    model = trained(name)
    start = NEW_TEXT[: max(model.min_context, 1)]
    sampling = [Sampling(1.0, seed=seed) for seed in (1, 2)]
    alone = [[token for _, token in islice(next_tokens(model, start, how), 12)] for how in sampling]
    both = zip(*(next_tokens(model, start, how) for how in sampling), strict=True)
    together = [(a, b) for (_, a), (_, b) in islice(both, 12)]
    assert [list(tokens) for tokens in zip(*together, strict=True)] == alone


@pytest.mark.parametrize("name", NAMES)
def test_too_few_ids_are_refused(trained, name):
    model = trained(name)
    for length in range(model.min_context):
        for ask in (model.next_probs, model.logits):
            with pytest.raises(InputError, match=f"needs {model.min_context} token.* got {length}"):
                ask(NEW_TEXT[:length])
    assert len(model.next_probs(NEW_TEXT[: model.min_context])) == V


@pytest.mark.parametrize("name", [name for name in NAMES if name != "unigram"])
@pytest.mark.parametrize("wrong", [-1, V, V + 7])
def test_ids_outside_the_vocabulary_are_refused(trained, name, wrong):
    model = trained(name)
    ids = [*NEW_TEXT[: model.min_context], wrong]
    for ask in (model.next_probs, model.logits):
        with pytest.raises(ValueError, match="token ids are 0 to 5"):
            ask(ids)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_make_no_sense_are_refused(name):
    for vocab_size in (0, -1, MAX_VOCABULARY + 1):
        with pytest.raises(InputError, match="the vocabulary must have 1 to"):
            untrained(name, vocab_size)
    assert len(untrained(name, 1).next_probs([0] * 3 if name != "context-5" else [0] * 5)) == 1


@pytest.mark.slow
def test_largest_vocabulary(toy_gpt, tmp_path):
    words = [str(number) for number in range(MAX_VOCABULARY + 1)]
    corpus, base = tmp_path / "text.txt", tmp_path / "run"
    corpus.write_text(" ".join(words), encoding="utf-8")
    outcome = toy_gpt("train", "--model", "kneser-ney", "--corpus", corpus, "--base-dir", base)
    assert outcome.refused
    assert "the vocabulary must have 1 to 1114110 different tokens, got 1114111" in outcome.err
    assert not base.exists()
    learned = run.train("kneser-ney", text=" ".join(words[:-1]), context=1)
    assert learned.model.vocab_size == MAX_VOCABULARY == 1_114_110
    scores = learned.score(text=f"1 2 new {words[-2]} new 5", unknown="uniform")
    assert (scores.num_tokens, scores.unknown_tokens, isfinite(scores.loss)) == (6, 2, True)


@pytest.mark.parametrize("name", NAMES)
def test_networks_and_mixing_explain_their_steps(trained, name):
    model = trained(name)
    if name in (*NETWORKS, "context-mixing"):
        steps = model.logit_lens(NEW_TEXT[:3])
        assert len(steps) > 1
        assert steps[-1].logits == pytest.approx(model.logits(NEW_TEXT[:3]), abs=1e-12)
    else:
        with pytest.raises(InputError, match="only a network"):
            model.logit_lens(NEW_TEXT[:5])


# --- learning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_learns_the_same_model(trained, name):
    again, history = fitted(name)
    assert_equal_models(trained(name), again)
    for record in history:
        assert list(record)[:3] == ["epoch", "avg_loss", "accuracy"]
        assert all(isfinite(number) for number in record.values())
        assert record["avg_loss"] > 0
        assert 0 <= record["accuracy"] <= 1
    watched, same = fitted(name, on_progress=lambda *_: None)
    assert same == history
    assert_equal_models(trained(name), watched)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_learning_helps(name):
    more = {"steps": 100, "learning_rate": 0.03, "embedding_dim": 8, "dropout": 0.0} if name in NETWORKS else {}
    model, before = untrained(name, **more), untrained(name, **more)
    text = [3, 4, 5] * 40
    list(model.fit(Text(text, len(text), TOKENS), settings_of(name, **more)))
    ids = [3, 4, 5, 3, 4]
    assert model.next_probs(ids)[5] > before.next_probs(ids)[5]
    if name != "unigram":
        assert argmax(model.next_probs(ids)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_min_tokens_is_the_least_that_can_be_learned(name):
    settings = settings_of(name)
    least = find_model(name).model_class.min_tokens(settings.context)
    model = untrained(name)
    assert list(model.fit(Text(TEXT[:least], least, TOKENS), settings))
    assert fsum(model.next_probs(NEW_TEXT[:20])) == pytest.approx(1, abs=1e-12)
    for size in range(least):
        with pytest.raises(InputError, match=f"{size} training tokens are too few"):
            list(untrained(name).fit(Text(TEXT, size, TOKENS), settings))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [-1, V])
def test_a_text_with_ids_outside_the_vocabulary_is_not_learned(name, wrong):
    for position in (0, 30, 59):
        text = [*TEXT[:position], wrong, *TEXT[position + 1 : 60]]
        with pytest.raises(ValueError, match="token ids are 0 to 5"):
            list(untrained(name).fit(Text(text, 60, TOKENS), settings_of(name)))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_training_part_is_learned(trained, name):
    model = untrained(name)
    shorter = Text(TEXT[:280], 280, TOKENS)
    for record in model.fit(shorter, settings_of(name)):
        assert not any(column.startswith("val") for column in record)
    assert_equal_models(trained(name), model)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_floor_is_no_more_than_any_tables_loss(trained, name):
    model = trained(name)
    floor = model.loss_floor(TEXT[:280])
    assert 0 <= floor <= log(V)
    if name in ("unigram", "bigram", "context-2", "context-3", "context-5"):
        start = model.scored_from(280)
        losses = [-log(max(p.probability, SMALLEST_PROBABILITY)) for p in model.score(TEXT[:280], start)]
        assert fsum(losses) / len(losses) >= floor


# --- its content --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_content_becomes_a_model_with_bit_identical_numbers(trained, name):
    model = trained(name)
    content = model.content()
    assert content.layout in model.layouts
    content = replace(content, tables=[table._replace(rows=list(table.rows)) for table in content.tables])
    for table in content.tables:
        rows = table.rows
        assert len(rows) == table.num_rows > 0
        width = sum(V if column.by_token else 1 for column in table.columns)
        assert all(len(row) == width for row in rows)
        contexts = [k for k, column in enumerate(table.columns) if column.holds == CONTEXT]
        assert all(len(row[k]) == model.context_size for row in rows for k in contexts)
    again = as_read(model, content)
    assert_equal_models(model, again)
    assert [list(table.rows) for table in again.content().tables] == [table.rows for table in content.tables]


@pytest.mark.parametrize("name", NETWORKS)
def test_many_weights_are_written_as_tensors(monkeypatch, name):
    monkeypatch.setattr(network, "LARGEST_IN_TABLES", 10)
    model, _ = fitted(name)
    content = model.content()
    assert content.layout == "safetensors"
    assert content.tables == ()
    assert sum(len(data) for _, data in content.tensors.values()) == model.num_parameters()
    assert all(data == array("f", data) for _, data in content.tensors.values())
    assert_equal_models(model, as_read(model, content))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NETWORKS])
def test_other_models_have_no_tensors_or_need_them(name):
    model = untrained(name)
    said = r"missing|are not" if "safetensors" in model.layouts else "not written as tensors"
    with pytest.raises(ValueError, match=said):
        model.load_tensors({})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_larger_than_its_files_is_refused_before_it_is_made(trained, name):
    model = trained(name)
    meta = {
        "vocab_size": V,
        "context_size": 3,
        "start_tokens": TOKENS[:3],
        **model.content().about,
    }
    assert type(model).from_meta(meta, model.num_parameters()).num_parameters() == model.num_parameters()
    with pytest.raises(InputError, match="too small to hold it"):
        type(model).from_meta(meta, model.num_parameters() - 1)


# --- options ------------------------------------------------------------------------------------------------

ALL_OPTIONS = {option: value for entry in LADDER for option, value in entry.model_class.options.items()}
FOREIGN = [
    (name, option) for name in NAMES for option in ALL_OPTIONS if option not in find_model(name).model_class.options
]


def test_there_are_options_that_some_models_do_not_have():
    assert {"epochs", "learning_rate", "steps", "heads", "dropout", "hidden_dim"} <= ALL_OPTIONS.keys()
    assert ("kneser-ney", "learning_rate") in FOREIGN
    assert ("attention", "heads") in FOREIGN


@pytest.mark.parametrize(("name", "option"), [*FOREIGN, ("gpt", "embedding"), ("bigram", "wings")])
def test_an_option_that_a_model_has_not_is_refused(name, option):
    with pytest.raises(InputError, match=f"{option.replace('_', '.')} does not apply to {name}"):
        run.train(name, text="a b c " * 20, **{option: 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NETWORKS])
@pytest.mark.parametrize("option", [{"workers": 2}, {"checkpoint_every": 1}, {"resume": True}])
def test_workers_and_checkpoints_are_for_models_that_train_in_steps(name, option):
    with pytest.raises(InputError, match=f"does not apply to {name}"):
        run.train(name, text="a b c " * 20, **option)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_model_is_taken(name):
    values = {**TINY, "weight_decay": 0.5, "micro_batch": 2, "beta1": 0.5, "beta2": 0.5}
    values |= {"burn_in": 0.5, "start_after": "c"}
    given = {
        option: entry.choices[0] if entry.choices else values.get(option, entry.type(1))
        for option, entry in find_model(name).model_class.options.items()
        if option != "momentum"  # it is SGD's, and the others are AdamW's
    }
    found = run.train(name, text="ab. c\n" * 20, tokenizer="char", **given)
    assert found.name == name
    assert isfinite(found.meta["metrics"]["train_loss"])
