"""test_neural_models.py - The neural rungs (500 to 800) as models: probabilities, scores, memory, sizes."""

import math
import random
from array import array
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toy_gpt_train.d_train import make_training_pairs
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import longest_context_floor, score
from toy_gpt_train.models.registry import level_for_kind
from toy_gpt_train.math_training import argmax, conditional_entropy, softmax
from toy_gpt_train.models import network as neural
from toy_gpt_train.models.network import Architecture, NeuralModel, parameter_file
from toy_gpt_train.models.sizes import SIZE_NAMES, SIZES, NeuralSettings, settings_for
from toy_gpt_train.models.transformer import TransformerModel
from toy_gpt_train.nn import kernels
from toy_gpt_train.nn.kernels import exact
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import FeedForward, SwiGLU, TransformerLM
from toy_gpt_train.training.steps import train_steps

RUNGS = ("embeddings", "attention", "gpt", "llama")
TRANSFORMERS = ("gpt", "llama")
SMALL = {
    "embeddings": Architecture(3, hidden_dim=5),
    "attention": Architecture(4),
    "gpt": Architecture(4, hidden_dim=6, heads=2, layers=2),
    "llama": Architecture(4, hidden_dim=6, heads=2, layers=2),
}
few_examples = settings(max_examples=40, deadline=None)


def class_of(kind: str) -> type[NeuralModel]:
    model = level_for_kind(kind).model
    assert issubclass(model, NeuralModel)
    return model


def make(
    kind: str, vocab_size: int = 5, context_size: int = 4, seed: int = 0, architecture: Architecture | None = None
) -> NeuralModel:
    """A network with numbers in every parameter: an untrained one has biases of 0, and hardly any position."""
    model = class_of(kind)(vocab_size, context_size, architecture or SMALL[kind])
    generator = random.Random(seed)
    for parameter in model.network.parameters():
        parameter.data = array("d", [generator.gauss(0, 0.7) for _ in parameter.data])
    return model


def read_afresh(model: NeuralModel, context: Sequence[int]) -> list[float]:
    """The probabilities of a network that reads the whole context and remembers nothing."""
    with exact():
        return softmax(model.network.forward([context]).data[-model.vocab_size :])


def close(expected: Sequence[float], tolerance: float = 1e-9) -> Any:
    return pytest.approx(list(expected), abs=tolerance, rel=0)


@st.composite
def architectures(draw: st.DrawFn, kind: str) -> Architecture:
    heads = draw(st.integers(1, 3)) if kind in TRANSFORMERS else 1
    size = draw(st.integers(1, 3)) * (2 if kind == "llama" else 1)
    least = 1 if kind in TRANSFORMERS else 0
    hidden = 0 if kind == "attention" else draw(st.integers(least, 4))
    return Architecture(heads * size, hidden, heads, draw(st.integers(1, 3)) if kind in TRANSFORMERS else 1)


# --- what a network is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RUNGS)
def test_parameters_are_counted_without_making_them(kind: str) -> None:
    @few_examples
    @given(st.integers(1, 6), st.integers(1, 5), architectures(kind))
    def check(vocab_size: int, context_size: int, architecture: Architecture) -> None:
        model_class = class_of(kind)
        model = model_class(vocab_size, context_size, architecture)
        assert model_class.count_parameters(vocab_size, context_size, architecture) == model.num_parameters()
        assert model.num_parameters() == sum(len(numbers.data) for numbers in model.network.parameters())

    check()


def test_parameters_by_hand() -> None:
    # Two vectors of 3 and, from 2 * 3 numbers, 2 logits with a bias each; a hidden layer of 4 between them.
    assert class_of("embeddings").count_parameters(2, 2, Architecture(3)) == 6 + 6 * 2 + 2
    assert class_of("embeddings").count_parameters(2, 2, Architecture(3, 4)) == 6 + 6 * 4 + 4 + 4 * 2 + 2
    # Two vectors and two positions of 3, three maps of 3 by 3, and 3 to 2 with biases.
    assert class_of("attention").count_parameters(2, 2, Architecture(3)) == 6 + 6 + 27 + 6 + 2
    # A block: four maps with biases, up and down with biases, two norms of a gain and a shift.
    block = 4 * (9 + 3) + (12 + 4) + (12 + 3) + 2 * 6
    assert class_of("gpt").count_parameters(2, 2, Architecture(3, 4, 1, 2)) == 6 + 6 + 2 * block + 6 + 6
    # No positions, no biases, three maps in the feed-forward layer, two norms of a gain.
    block = 4 * 4 + 3 * 8 + 2 * 2
    assert class_of("llama").count_parameters(2, 2, Architecture(2, 4, 1, 2)) == 4 + 2 * block + 2 + 4


@pytest.mark.parametrize("kind", RUNGS)
def test_seed_decides_the_weights(kind: str) -> None:
    def weights(seed: int) -> list[list[float]]:
        return [list(parameter.data) for parameter in class_of(kind)(5, 4, SMALL[kind], seed).network.parameters()]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@pytest.mark.parametrize("kind", RUNGS)
@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 4), (5, 0), (-1, 4), (5, -1)])
def test_no_network_without_tokens_or_context(kind: str, vocab_size: int, context_size: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        class_of(kind)(vocab_size, context_size, SMALL[kind])


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_transformer_needs_a_feed_forward_layer(kind: str) -> None:
    with pytest.raises(InputError, match="feed-forward"):
        class_of(kind)(5, 4, Architecture(4, hidden_dim=0))


@pytest.mark.parametrize(("size", "heads"), [(1, 1), (3, 1), (6, 2), (12, 4)])
def test_rotation_needs_pairs(size: int, heads: int) -> None:
    with pytest.raises(InputError, match="pairs"):
        class_of("llama")(5, 4, Architecture(size, 4, heads))
    class_of("gpt")(5, 4, Architecture(size, 4, heads))


# --- forward ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RUNGS)
def test_probabilities_sum_to_1(kind: str) -> None:
    model = make(kind)
    for length in range(model.least_context, 5):
        probs = model.forward(*([4, 0, 3, 1][:length]))
        assert len(probs) == 5
        assert min(probs) > 0
        assert sum(probs) == pytest.approx(1, abs=1e-12)


def rows_of(model: NeuralModel, name: str) -> list[list[float]]:
    """A parameter as a list of rows."""
    rows: list[list[float]] = model.network.state_dict()[name].tolist()
    return rows


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("context_size", [1, 3])
def test_embeddings_by_plain_loops(hidden: int, context_size: int) -> None:
    model = make("embeddings", 5, context_size, architecture=Architecture(2, hidden))
    context = [4, 0, 3][:context_size]
    x: list[float] = []
    for token_id in context:
        x += rows_of(model, "token_embeddings.weight")[token_id]
    if hidden:
        bias: Any = rows_of(model, "hidden.bias")
        x = [math.tanh(dot(row, x) + b) for row, b in zip(rows_of(model, "hidden.weight"), bias, strict=True)]
    bias = rows_of(model, "output.bias")
    logits = [dot(row, x) + b for row, b in zip(rows_of(model, "output.weight"), bias, strict=True)]
    total = sum(map(math.exp, logits))
    assert model.forward(*context) == close([math.exp(logit) / total for logit in logits], 1e-12)


def plain_attention(model: NeuralModel, context: Sequence[int]) -> tuple[list[float], list[float]]:
    """Rung 600 by its formula: the shares of the last token's attention, and the logits."""
    tokens, places = rows_of(model, "token_embeddings.weight"), rows_of(model, "position_embeddings.weight")
    xs = [[a + b for a, b in zip(tokens[token_id], places[t], strict=True)] for t, token_id in enumerate(context)]
    query_map, key_map, value_map = (rows_of(model, f"attention.{part}_proj.weight") for part in "qkv")
    query = [dot(row, xs[-1]) for row in query_map]
    keys = [[dot(row, x) for row in key_map] for x in xs]
    values = [[dot(row, x) for row in value_map] for x in xs]
    powers = [math.exp(dot(query, key) / math.sqrt(len(query))) for key in keys]
    shares = [power / sum(powers) for power in powers]
    told = [sum(share * value[j] for share, value in zip(shares, values, strict=True)) for j in range(len(query))]
    bias: Any = rows_of(model, "output.bias")
    return shares, [dot(row, told) + b for row, b in zip(rows_of(model, "output.weight"), bias, strict=True)]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_attention_by_plain_loops(length: int) -> None:
    model = make("attention")
    context = [4, 0, 3, 1][:length]
    shares, logits = plain_attention(model, context)
    total = sum(map(math.exp, logits))
    assert model.forward(*context) == close([math.exp(logit) / total for logit in logits], 1e-12)
    bias_only, last = model.glimpses(context)
    assert last.attention[0] == close(shares, 1e-12)
    assert last.logits == close(logits, 1e-12)
    assert bias_only.logits == list(model.network.state_dict()["output.bias"].data)


@pytest.mark.parametrize("kind", ["attention", "gpt", "llama"])
def test_one_reading_predicts_at_every_place(kind: str) -> None:
    # What comes after a token depends on no token behind it; so fewer tokens than N are a window's beginning.
    model = make(kind)
    context = [4, 0, 3, 1]
    with exact():
        rows = model.network.forward([context]).tolist()[0]
        for length in range(1, 5):
            assert model.logits(context[:length]) == close(rows[length - 1])


@pytest.mark.parametrize("kind", RUNGS)
def test_order_of_the_context_matters(kind: str) -> None:
    model = make(kind)
    assert model.forward(0, 1, 2, 3) != close(model.forward(1, 0, 2, 3), 1e-3)


@pytest.mark.parametrize("kind", RUNGS)
@pytest.mark.parametrize("context", [(), (0, 1, 2, 3, 4), (0, 1, 2, 5), (0, 1, 2, -1), (5, 0, 0, 0), (10**30, 0, 0, 0)])
def test_what_is_no_context_is_refused(kind: str, context: tuple[int, ...]) -> None:
    model = make(kind)
    for method in (model.forward, lambda *ids: model.glimpses(ids)):
        with pytest.raises(ValueError, match=f"got {len(context)}$" if len(context) != 4 else r"0 to 4, got \("):
            method(*context)
    assert model.forward(0, 1, 2, 3) == read_afresh(model, [0, 1, 2, 3])


def test_embeddings_need_a_full_context() -> None:
    model = make("embeddings")
    for length in range(4):
        with pytest.raises(ValueError, match=f"4 token ids, got {length}"):
            model.forward(*([0] * length))
    assert model.least_context == 4
    assert {make(kind).least_context for kind in RUNGS[1:]} == {1}


# --- scores of a text -------------------------------------------------------------------------------------------


def contexts_by_the_rule(
    kind: str, context_size: int, vocab_size: int, token_ids: Sequence[int], start: int
) -> list[Sequence[int] | None]:
    """The context of each token from ``start`` on; None for a token that is scored blindly.

    An unknown token parts the text. In each part, from the first token that has enough before it, tokens are taken
    N/2 at a time, and all of them see what the last of them has in its window. Rung 500 takes them one by one.
    """
    least, at_once = (context_size, 1) if kind == "embeddings" else (1, max(context_size // 2, 1))
    contexts: dict[int, Sequence[int]] = {}
    begin = 0
    for end in [*(place for place, token_id in enumerate(token_ids) if token_id == vocab_size), len(token_ids)]:
        for first in range(max(begin + least, start), end, at_once):
            group = range(first, min(first + at_once, end))
            window_begin = max(group[-1] - context_size, begin)
            contexts.update((place, token_ids[window_begin:place]) for place in group)
        begin = end + 1
    return [contexts.get(place) for place in range(start, len(token_ids))]


def assert_scored_by_the_rule(kind: str, model: NeuralModel, token_ids: Sequence[int], start: int) -> None:
    expected = contexts_by_the_rule(kind, model.context_size, model.vocab_size, token_ids, start)
    with exact():
        found = list(model.predictions(token_ids, start))
        assert len(found) == len(expected) == max(len(token_ids) - start, 0)
        for prediction, context, target in zip(found, expected, token_ids[start:], strict=True):
            assert prediction.context_seen is None
            if context is None:
                assert prediction == (1 / model.vocab_size, 0, None)
                continue
            probs = model.forward(*context)
            assert prediction.probability == pytest.approx(probs[target], abs=1e-12)
            assert prediction.likeliest == argmax(probs)


def test_contexts_by_hand() -> None:
    text = [0, 1, 2, 3, 4, 0, 1, 2]
    # N = 4: tokens two at a time. The pair at places 5 and 6 sees what the token at 6 sees: places 2 to 5.
    assert contexts_by_the_rule("gpt", 4, 5, text, 0) == [
        None,
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [2, 3, 4],
        [2, 3, 4, 0],
        [3, 4, 0, 1],  # alone in the last group
    ]
    assert contexts_by_the_rule("embeddings", 4, 5, text, 0)[3:] == [None, text[:4], text[1:5], text[2:6], text[3:7]]
    # The groups begin at the first token to score.
    assert contexts_by_the_rule("gpt", 4, 5, text, 4) == [[1, 2, 3], [1, 2, 3, 4], [3, 4, 0], [3, 4, 0, 1]]
    # An unknown token is scored blindly, and so is what has nothing but it before.
    assert contexts_by_the_rule("gpt", 4, 5, [0, 1, 5, 2, 3], 0) == [None, [0], None, None, [2]]
    assert contexts_by_the_rule("embeddings", 2, 5, [0, 1, 2, 5, 3, 4, 0], 2) == [[0, 1], None, None, None, [3, 4]]
    for kind in RUNGS:
        for size in range(1, 5):
            assert_scored_by_the_rule(kind, make(kind, 5, size), text, 0)


@pytest.mark.parametrize("kind", RUNGS)
def test_predictions_follow_the_window_rule(kind: str) -> None:
    @few_examples
    @given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=16), st.integers(0, 17))
    @example(1, [], 0)
    @example(4, [5], 0)
    @example(4, [5, 5, 0, 5], 0)
    @example(2, [0, 1, 2], 3)
    @example(2, [0, 1, 2], 9)
    @example(6, [0, 1, 2], 1)
    def check(context_size: int, token_ids: list[int], start: int) -> None:
        # 5 is V, the unknown token.
        assert_scored_by_the_rule(kind, make(kind, 5, context_size), token_ids, start)

    check()


@pytest.mark.parametrize("kind", RUNGS)
@pytest.mark.parametrize("start", [0, 1, 3, 30])
def test_long_text_is_scored_in_several_batches(kind: str, start: int) -> None:
    generator = random.Random(start)
    text = [generator.randrange(5) for _ in range(90)]
    assert_scored_by_the_rule(kind, make(kind, 5, 4), text, start)
    text[50] = 5
    assert_scored_by_the_rule(kind, make(kind, 5, 5), text, start)


@pytest.mark.parametrize("kind", RUNGS)
def test_groups_are_half_a_window(kind: str) -> None:
    strides = [make(kind, 5, size).stride for size in range(1, 8)]
    assert strides == ([1] * 7 if kind == "embeddings" else [1, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize("kind", RUNGS)
def test_score_keeps_no_record_of_contexts(kind: str) -> None:
    model = make(kind)
    scores = score(model, [0, 1, 2, 3, 4, 0], 4)
    assert (scores.num_tokens, scores.unseen_context_share) == (2, None)
    with pytest.raises(ValueError, match="no token"):
        score(model, [0, 1, 2], 3)


# --- what was read need not be read again -----------------------------------------------------------------------

LARGE = {"gpt": Architecture(16, 64, 2, 2), "llama": Architecture(16, 64, 2, 2)}  # enough for the packed kernel


def assert_as_if_read_afresh(model: NeuralModel, contexts: Sequence[Sequence[int]]) -> None:
    for context in contexts:
        assert model.forward(*context) == close(read_afresh(model, context))


def sliding(text: Sequence[int], size: int) -> list[Sequence[int]]:
    """The contexts of a text that grows token by token, until the window is full and slides."""
    return [text[max(end - size, 0) : end] for end in range(1, len(text) + 1)]


ORDERS: Mapping[str, Sequence[Sequence[int]]] = {
    "growing and sliding": sliding([0, 1, 2, 3, 4, 0, 1, 1, 1, 1, 1, 1, 1], 6),
    "the same again": [[0, 1], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2]],
    "several tokens more": [[0], [0, 1, 2], [0, 1, 2, 3, 4, 0]],
    "shorter again": [[0, 1, 2, 3], [0, 1], [0, 1, 2], [0]],
    "to and fro": [[0, 1], [3, 4], [0, 1, 2], [3, 4, 2], [3, 4, 2, 1], [0, 1, 2, 1]],
    "another beginning": [[0, 1, 2], [1, 1, 2, 3], [0, 1, 2, 3], [0, 2, 2, 3, 4]],
    "another last token": [[0, 1, 2], [0, 1, 3, 4]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_memory_changes_no_number(kind: str, order: str) -> None:
    assert_as_if_read_afresh(make(kind, context_size=6), ORDERS[order])
    model = class_of(kind)(20, 6, LARGE[kind], seed=3)
    assert_as_if_read_afresh(model, ORDERS[order])
    # Logits are computed in full precision too: what forward() goes on from must not depend on who read it.
    refused = AssertionError("the packed kernel ran")
    with mock.patch.object(kernels, "packed_matmul", side_effect=refused):
        for context in ORDERS[order]:
            assert softmax(model.logits(context)) == close(read_afresh(model, context), 1e-9)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_memory_in_any_order(kind: str) -> None:
    model = make(kind, 3, 4)

    @few_examples
    @given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12))
    def check(contexts: list[list[int]]) -> None:
        assert_as_if_read_afresh(model, contexts)

    check()


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_only_new_tokens_are_read(kind: str) -> None:
    model = make(kind, context_size=4)
    read: list[Sequence[int]] = []
    real = TransformerLM.forward

    def noting(network: TransformerLM, ids: Sequence[Sequence[int]], caches: Any = None) -> Tensor:
        read.extend(ids)
        return real(network, ids, caches)

    with mock.patch.object(TransformerLM, "forward", noting):
        for context in ([0], [0, 1], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [2, 3], [2, 3, 1]):
            model.forward(*context)
    assert [list(ids) for ids in read] == [[0], [1], [2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [2, 3], [1]]


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_scores_and_glimpses_leave_the_memory_alone(kind: str) -> None:
    model = make(kind)
    model.forward(0, 1)
    list(model.predictions([4, 3, 2, 1, 0]))
    model.glimpses([3, 3])
    assert_as_if_read_afresh(model, [[0, 1, 2], [0, 1, 2, 3]])


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_new_weights_end_the_memory(kind: str) -> None:
    model = make(kind)
    model.forward(0, 1)
    model.load_weights(make(kind, seed=1).network.state_dict())
    assert_as_if_read_afresh(model, [[0, 1, 2]])
    model.forward(0, 1)
    model.round_weights(1)
    assert_as_if_read_afresh(model, [[0, 1, 2]])


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_training_ends_the_memory(kind: str) -> None:
    model = make(kind)
    numbers = settings_for(kind, model.uses, context=4, embedding_dim=4, heads=2, steps=2, batch_size=2)
    model.forward(0, 1)
    train_steps(model, [0, 1, 2, 3, 4] * 5, 25, numbers)
    assert_as_if_read_afresh(model, [[0, 1, 2]])


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_interrupted_reading_leaves_no_memory(kind: str) -> None:
    # Ctrl-C in the second block, when the first has already taken the new token in.
    model = make(kind)
    second = model.network.blocks[1].feed_forward
    assert isinstance(second, FeedForward | SwiGLU)
    model.forward(0, 1)
    with mock.patch.object(second, "forward", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        model.forward(0, 1, 2)
    assert_as_if_read_afresh(model, [[0, 1, 2], [0, 1, 2, 3]])


# --- glimpses ---------------------------------------------------------------------------------------------------

PLACES = {
    "embeddings": ["no token", "last token", "last 2 tokens", "last 3 tokens", "last 4 tokens"],
    "attention": ["no token", "attention"],
    "gpt": ["embeddings", "block 1", "block 2"],
    "llama": ["embeddings", "block 1", "block 2"],
}


@pytest.mark.parametrize("kind", RUNGS)
def test_last_glimpse_is_the_prediction(kind: str) -> None:
    model = make(kind)
    for length in range(model.least_context, 5):
        context = [4, 0, 3, 1][:length]
        with exact():
            glimpses = model.glimpses(context)
            assert glimpses[-1].logits == close(model.logits(context))
        assert [glimpse.place for glimpse in glimpses] == PLACES[kind]
        assert {len(glimpse.logits) for glimpse in glimpses} == {5}
        heads = {"attention": [0, 1], "gpt": [0, 2, 2], "llama": [0, 2, 2]}.get(kind, [0] * 5)
        assert [len(glimpse.attention) for glimpse in glimpses] == heads
        for shares in (shares for glimpse in glimpses for shares in glimpse.attention):
            assert len(shares) == length
            assert min(shares) > 0
            assert sum(shares) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("hidden", [0, 5])
def test_glimpses_of_embeddings_know_the_last_tokens(hidden: int) -> None:
    # A token that is not yet known is a vector of zeros: what stands before does not matter.
    model = make("embeddings", architecture=Architecture(3, hidden))
    with exact():
        one, other = model.glimpses([0, 1, 2, 3]), model.glimpses([4, 4, 2, 3])
        for known in range(5):
            same = one[known].logits == close(other[known].logits)
            assert same == (known <= 2)
        zeros = make("embeddings", architecture=Architecture(3, hidden))
        embeddings = zeros.network.state_dict()["token_embeddings.weight"]
        embeddings.data = array("d", [0.0] * len(embeddings.data))
        assert one[0].logits == close(zeros.logits([0, 0, 0, 0]))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_block_that_adds_nothing_changes_no_glimpse(kind: str) -> None:
    model = make(kind)
    silent = ("o_proj", "down_proj")
    for name, parameter in model.network.named_parameters():
        if name.startswith("blocks.1.") and name.split(".")[-2] in silent:
            parameter.data = array("d", [0.0] * len(parameter.data))
    embeddings, first, second = model.glimpses([4, 0, 3, 1])
    assert second.logits == close(first.logits)
    assert first.logits != close(embeddings.logits, 1e-3)


# --- the weights ------------------------------------------------------------------------------------------------


def test_files_of_parameters() -> None:
    assert parameter_file("output.weight") == "02_model_weights.csv"
    assert parameter_file("attention.q_proj.weight") == "05_W_Q.csv"
    assert parameter_file("blocks.0.attention.v_proj.bias") == "10_b_V.csv"
    assert parameter_file("blocks.11.norm_2.weight") == "22_norm_2_gain_block_12.csv"
    for kind in RUNGS:
        names = [name for name, _ in make(kind).network.named_parameters()]
        assert len({parameter_file(name) for name in names}) == len(names)


@pytest.mark.parametrize("kind", RUNGS)
def test_tables_hold_every_number(kind: str) -> None:
    model, other = make(kind), make(kind, seed=1)
    tables = model.to_tables()
    assert [table.name for table in tables] == sorted(table.name for table in tables)
    assert other.expect_tables(list("abcde")) == {table.name: table.columns for table in tables}
    rows = {table.name: list(table.rows) for table in tables}
    assert {table.name: table.num_rows for table in tables} == {name: len(rows[name]) for name in rows}
    other.from_tables(rows)
    for mine, theirs in zip(model.network.parameters(), other.network.parameters(), strict=True):
        assert mine.data == theirs.data
    assert other.forward(0, 1, 2, 3) == model.forward(0, 1, 2, 3)


@pytest.mark.parametrize("kind", RUNGS)
def test_tables_that_do_not_fit_change_nothing(kind: str) -> None:
    model = make(kind)
    rows = {table.name: list(table.rows) for table in make(kind, seed=1).to_tables()}
    before = [parameter.data[:] for parameter in model.network.parameters()]
    for name in rows:
        for damaged in (rows[name][1:], rows[name][:-1], rows[name] + rows[name][-1:], rows[name][::-1]):
            with pytest.raises(ValueError):
                model.from_tables({**rows, name: damaged})
    assert [parameter.data for parameter in model.network.parameters()] == before


@pytest.mark.parametrize("kind", RUNGS)
def test_weights_that_do_not_fit_change_nothing(kind: str) -> None:
    model = make(kind)
    weights: dict[str, Tensor] = dict(make(kind, seed=1).network.state_dict())
    before = [parameter.data[:] for parameter in model.network.parameters()]
    first, *_, last = weights
    turned = Tensor(weights[first].data, weights[first].shape[::-1])
    wrong = [
        ({name: weights[name] for name in weights if name != last}, last),
        ({**weights, "output.gain": weights[last]}, "output.gain"),
        ({**weights, first: turned}, first),
        ({}, first),
    ]
    for state, named in wrong:
        with pytest.raises(ValueError, match=named):
            model.load_weights(state)
    assert [parameter.data for parameter in model.network.parameters()] == before


@pytest.mark.parametrize("kind", RUNGS)
@pytest.mark.parametrize("number", [1.001e6, -1.001e6, 1e308, math.inf, -math.inf])
def test_weight_beyond_reason_changes_nothing(kind: str, number: float) -> None:
    model = make(kind)
    before = [parameter.data[:] for parameter in model.network.parameters()]
    weights: dict[str, Tensor] = dict(make(kind, seed=1).network.state_dict())
    data = list(weights["output.weight"].data)
    weights["output.weight"] = Tensor([*data[:-1], number], weights["output.weight"].shape)
    with pytest.raises(ValueError, match=r"output\.weight"):
        model.load_weights(weights)
    assert [parameter.data for parameter in model.network.parameters()] == before
    weights["output.weight"] = Tensor([*data[:-1], math.copysign(1e6, number)], weights["output.weight"].shape)
    model.load_weights(weights)
    assert sum(model.forward(0, 1, 2, 3)) == pytest.approx(1)


@pytest.mark.parametrize("kind", RUNGS)
def test_weights_are_rounded_to_what_files_hold(kind: str) -> None:
    model = make(kind)
    model.network.parameters()[0].data[0] = -1e-9
    numbers = [number for parameter in model.network.parameters() for number in parameter.data]
    model.round_weights(2)
    rounded = [number for parameter in model.network.parameters() for number in parameter.data]
    assert rounded == [float(f"{number:.2f}") for number in numbers]
    assert math.copysign(1, rounded[0]) == 1  # never -0.0, which is written as 0
    with mock.patch.object(neural, "LARGEST_IN_TABLES", model.num_parameters() - 1):
        assert not model.fits_tables
        many = make(kind, seed=2)
        numbers = [number for parameter in many.network.parameters() for number in parameter.data]
        many.round_weights(2)
        rounded = [number for parameter in many.network.parameters() for number in parameter.data]
        assert rounded == list(array("f", numbers))
        assert rounded != numbers
    with mock.patch.object(neural, "LARGEST_IN_TABLES", model.num_parameters()):
        assert model.fits_tables


# --- how large: Architecture ------------------------------------------------------------------------------------


def test_architecture_from_metadata() -> None:
    full = {"embedding_dim": 8, "hidden_dim": 0, "heads": 4, "layers": 3, "dropout": 0.5}
    assert Architecture.from_mapping(full) == Architecture(8, 0, 4, 3, 0.5)
    assert Architecture.from_mapping({**full, "dropout": 0}).dropout == 0


HOSTILE = (10**9, 2**70, -1, True, False, 4.0, "4", None, [4], {})


@pytest.mark.parametrize("name", ["embedding_dim", "hidden_dim", "heads", "layers"])
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_number_is_refused(name: str, value: object) -> None:
    full: dict[str, Any] = {"embedding_dim": 8, "hidden_dim": 8, "heads": 1, "layers": 1, "dropout": 0.0}
    with pytest.raises(InputError, match=name) as refusal:
        Architecture.from_mapping({**full, name: value})
    assert "\n" not in str(refusal.value)


WHOLE = {"embedding_dim": 8, "hidden_dim": 8, "heads": 1, "layers": 1, "dropout": 0.0}


@pytest.mark.parametrize("value", [1, 1.0, -0.1, float("nan"), float("inf"), 10**400, True, "0", None], ids=repr)
def test_hostile_dropout_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="dropout"):
        Architecture.from_mapping({**WHOLE, "dropout": value})


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "no embedding_dim"),
        ({"hidden_dim": 4}, "no embedding_dim"),
        ({"embedding_dim": 8, "depth": 1}, "'depth'"),
        ({"embedding_dim": 8, "x" * 10**5: 1}, "unknown number 'x{40}'"),
        ({"embedding_dim": 8}, "no hidden_dim"),
        ({**WHOLE, "heads": 3}, "3 heads cannot share an embedding of 8"),
        ({**WHOLE, "embedding_dim": 2, "heads": 4}, "4 heads cannot share an embedding of 2"),
        ({**WHOLE, "embedding_dim": 0}, "from 1 to"),
        ({**WHOLE, "heads": 0}, "from 1 to"),
        ({**WHOLE, "layers": 0}, "from 1 to"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_architecture_that_makes_no_sense(numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Architecture.from_mapping(numbers)


# --- how large, and how long: settings_for ----------------------------------------------------------------------


def settings_of(kind: str, size: str = "tiny", **numbers: Any) -> NeuralSettings:
    return settings_for(kind, class_of(kind).uses, size, **numbers)


@pytest.mark.parametrize("size", SIZE_NAMES)
@pytest.mark.parametrize("kind", RUNGS)
def test_dial_gives_what_the_table_says(kind: str, size: str) -> None:
    given_numbers, found = SIZES[kind][size], settings_of(kind, size)
    for name in ("context", "steps", "batch_size", "learning_rate"):
        assert getattr(found, name) == getattr(given_numbers, name)
    for name in ("embedding_dim", "heads", "layers"):
        assert getattr(found.architecture, name) == getattr(given_numbers, name)
    assert (found.weight_decay, found.clip, found.architecture.dropout) == (0.1, 1.0, 0.0)
    assert (found.warmup, found.eval_every) == (found.steps // 20, found.steps // 20)
    assert found.piece_size == found.batch_size // 4
    class_of(kind)(2, 2, found.architecture)  # a network of this size can be built


def test_larger_sizes_are_larger() -> None:
    for kind in RUNGS:
        counts = [
            class_of(kind).count_parameters(500, found.context, found.architecture)
            for found in (settings_of(kind, size) for size in SIZE_NAMES)
        ]
        steps = [settings_of(kind, size).steps for size in SIZE_NAMES]
        assert counts == sorted(set(counts))
        assert steps == sorted(set(steps))
        assert level_for_kind(kind).context_size == settings_of(kind).context


def test_what_is_given_counts() -> None:
    numbers = {
        "context": 5,
        "embedding_dim": 12,
        "hidden_dim": 7,
        "heads": 3,
        "layers": 4,
        "dropout": 0.25,
        "steps": 11,
        "batch_size": 9,
        "piece_size": 2,
        "learning_rate": 0.5,
        "warmup": 3,
        "weight_decay": 0.0,
        "clip": 2.0,
        "eval_every": 6,
    }
    found = settings_of("gpt", "medium", **numbers)
    assert found.architecture == Architecture(12, 7, 3, 4, 0.25)
    assert found == NeuralSettings(5, found.architecture, 11, 9, 2, 0.5, 3, 0.0, 2.0, 6)
    assert settings_of("gpt", "medium", **dict.fromkeys(numbers)) == settings_of("gpt", "medium")


def test_what_follows_follows_the_given() -> None:
    assert settings_of("gpt", embedding_dim=16).architecture.hidden_dim == 64
    # 8/3 of 16 is 42.67, and the next multiple of 8 is 48; of 24 it is 64, which is one.
    assert settings_of("llama", embedding_dim=16).architecture.hidden_dim == 48
    assert settings_of("llama", embedding_dim=24).architecture.hidden_dim == 64
    assert settings_of("llama", embedding_dim=16, hidden_dim=5).architecture.hidden_dim == 5
    assert [settings_of("embeddings", size, embedding_dim=5).architecture.hidden_dim for size in SIZE_NAMES] == [
        SIZES["embeddings"][size].hidden_dim for size in SIZE_NAMES
    ]
    assert settings_of("embeddings", "small", hidden_dim=0).architecture.hidden_dim == 0
    found = settings_of("gpt", steps=100, batch_size=20)
    assert (found.warmup, found.eval_every, found.piece_size) == (5, 5, 5)
    found = settings_of("gpt", steps=3, batch_size=3)
    assert (found.warmup, found.eval_every, found.piece_size) == (0, 1, 1)


WRONG_SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("embeddings", {"heads": 2}, "embeddings has no heads"),
    ("embeddings", {"layers": 1}, "embeddings has no layers"),
    ("embeddings", {"dropout": 0.0}, "embeddings has no dropout"),
    ("attention", {"hidden_dim": 8}, "attention has no hidden"),
    ("attention", {"heads": 1}, "attention has no heads"),
    ("gpt", {"size": "huge"}, "unknown size 'huge'; there are tiny, small, medium"),
    ("gpt", {"size": ""}, "unknown size ''"),
    ("gpt", {"heads": 3}, "3 heads cannot share"),
    ("gpt", {"heads": 0}, "heads must be from 1"),
    ("gpt", {"layers": 0}, "layers must be from 1"),
    ("gpt", {"embedding_dim": 0}, "embedding_dim must be from 1"),
    ("gpt", {"embedding_dim": 10**9}, "embedding_dim must be from 1"),
    ("gpt", {"hidden_dim": -1}, "hidden_dim must be from 0"),
    *(
        ("gpt", {name: 0}, f"the {name.replace('_', ' ')} must be at least 1")
        for name in ("context", "steps", "batch_size", "piece_size", "eval_every")
    ),
    ("gpt", {"warmup": -1}, "warmup"),
    *(("gpt", {"learning_rate": value}, "learning rate") for value in (0.0, -1.0, 1001.0, math.nan, math.inf)),
    *(("gpt", {"clip": value}, "clip") for value in (0.0, -1.0, 1e10, math.nan, math.inf)),
    *(("gpt", {"weight_decay": value}, "weight decay") for value in (-0.1, 1e9, math.nan, math.inf)),
    *(("gpt", {"dropout": value}, "dropout") for value in (1.0, -0.1, math.nan)),
]


@pytest.mark.parametrize(("kind", "numbers", "words"), WRONG_SETTINGS, ids=lambda value: str(value)[:30])
def test_settings_that_make_no_sense(kind: str, numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        settings_of(kind, **numbers)
    assert "\n" not in str(refusal.value)


# --- the floor of long contexts ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 40), st.integers(0, 2**32))
def test_floor_is_the_conditional_entropy(context_size: int, vocab_size: int, more: int, seed: int) -> None:
    generator = random.Random(seed)
    # Pieces that come again, so that even twelve tokens are met twice.
    pieces = [[generator.randrange(vocab_size) for _ in range(generator.randrange(1, 15))] for _ in range(2)]
    text: list[int] = []
    while len(text) < context_size + 1 + more:
        text += generator.choice(pieces)
    text = text[: context_size + 1 + more]
    entropy = conditional_entropy(make_training_pairs(text, context_size))
    assert longest_context_floor(text, context_size) == pytest.approx(entropy, abs=1e-12)


def test_floor_of_long_contexts_by_hand() -> None:
    # The same ten tokens twice, then two different ones: of the 12 places with ten tokens before them, two leave log 2.
    text = [*range(10), 10, *range(10), 11]
    assert longest_context_floor(text, 10) == pytest.approx(2 * math.log(2) / 12, abs=1e-12)
    assert longest_context_floor(text, 11) == 0
    # The last eight tokens are the same, the one before them is not.
    text = [20, *range(8), 10, 21, *range(8), 11]
    assert longest_context_floor(text, 8) == pytest.approx(2 * math.log(2) / 12, abs=1e-12)
    assert longest_context_floor(text, 9) == 0
    # Ids that are no characters of their own in Unicode.
    assert longest_context_floor([0xD800, 0xDFFF, 0xD800, 0x10FFFF], 1) == pytest.approx(2 * math.log(2) / 3)


def test_transformer_models_are_those_with_a_memory() -> None:
    assert [kind for kind in RUNGS if issubclass(class_of(kind), TransformerModel)] == list(TRANSFORMERS)
