"""test_networks.py - The networks (500 to 800) as models: probabilities, scores, caches, weights, sizes."""

import math
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax, conditional_entropy, softmax
from toy_gpt_train.models import network as network_module
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.models.ngram_table import training_pairs
from toy_gpt_train.models.parameter_tables import parameter_file
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.models.scores import longest_context_floor, summarize
from toy_gpt_train.models.sizes import SIZES, NetworkSettings, settings_for
from toy_gpt_train.models.transformer import TransformerModel
from toy_gpt_train.nn import kernels
from toy_gpt_train.nn.rotation import RopeScaling
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import FeedForward, SwiGLU, TransformerLM

NETWORKS = ("embeddings", "attention", "gpt", "llama")
TRANSFORMERS = ("gpt", "llama")
SMALL = {
    "embeddings": Architecture(3, hidden_dim=5),
    "attention": Architecture(4),
    "gpt": Architecture(4, hidden_dim=6, heads=2, layers=2),
    "llama": Architecture(4, hidden_dim=6, heads=2, layers=2),
}
few_examples = settings(max_examples=40, deadline=None)


def class_of(kind: str) -> type[NetworkModel]:
    model = find_model(kind).model_class
    assert issubclass(model, NetworkModel)
    return model


def make(
    kind: str, vocab_size: int = 5, context_size: int = 4, seed: int = 0, architecture: Architecture | None = None
) -> NetworkModel:
    """A network with random values in every parameter: an untrained one has biases of 0, and hardly any position."""
    model = class_of(kind)(vocab_size, context_size, architecture or SMALL[kind])
    generator = random.Random(seed)
    for parameter in model.network.parameters():
        parameter.data = array("d", [generator.gauss(0, 0.7) for _ in parameter.data])
    return model


def read_anew(model: NetworkModel, context: Sequence[int]) -> list[float]:
    """The probabilities of a network that reads the whole context and uses no cache."""
    return softmax(model.network([context], exact=True).data[-model.vocab_size :])


def close(expected: Sequence[float], tolerance: float = 1e-9) -> Any:
    return pytest.approx(list(expected), abs=tolerance, rel=0)


@st.composite
def architectures(draw: st.DrawFn, kind: str) -> Architecture:
    heads = draw(st.integers(1, 3)) if kind in TRANSFORMERS else 1
    size = draw(st.integers(1, 3)) * (2 if kind == "llama" else 1)
    least = 1 if kind in TRANSFORMERS else 0
    hidden = 0 if kind == "attention" else draw(st.integers(least, 4))
    layers = draw(st.integers(1, 3)) if kind in TRANSFORMERS else 1
    tied = kind in TRANSFORMERS and draw(st.booleans())
    kv_heads = draw(st.sampled_from([0, 1, heads])) if kind == "llama" else 0
    return Architecture(heads * size, hidden, heads, layers, tied=tied, kv_heads=kv_heads)


# --- what a network is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
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
    # Two vectors and two positions of 3, three matrices of 3 by 3, and 3 to 2 with biases.
    assert class_of("attention").count_parameters(2, 2, Architecture(3)) == 6 + 6 + 27 + 6 + 2
    # A block: four linear layers with biases, up and down with biases, two norms of a gain and a shift.
    block = 4 * (9 + 3) + (12 + 4) + (12 + 3) + 2 * 6
    assert class_of("gpt").count_parameters(2, 2, Architecture(3, 4, 1, 2)) == 6 + 6 + 2 * block + 6 + 6
    # No positions, no biases, three matrices in the feed-forward layer, two norms of a gain.
    block = 4 * 4 + 3 * 8 + 2 * 2
    assert class_of("llama").count_parameters(2, 2, Architecture(2, 4, 1, 2)) == 4 + 2 * block + 2 + 4
    # Tied: no output layer. Of four heads of 2, each two share keys and values: k and v are 8 to 4.
    assert class_of("gpt").count_parameters(2, 2, Architecture(3, 4, tied=True)) == 6 + 6 + 4 * 12 + 31 + 12 + 6
    grouped = Architecture(8, 4, 4, tied=True, kv_heads=2)
    assert class_of("llama").count_parameters(2, 2, grouped) == 16 + 2 * 64 + 2 * 32 + 3 * 32 + 2 * 8 + 8


@pytest.mark.parametrize("kind", NETWORKS)
def test_seed_decides_the_weights(kind: str) -> None:
    def weights(seed: int) -> list[list[float]]:
        return [list(parameter.data) for parameter in class_of(kind)(5, 4, SMALL[kind], seed).network.parameters()]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 4), (5, 0), (-1, 4), (5, -1)])
def test_no_network_without_tokens_or_context(kind: str, vocab_size: int, context_size: int) -> None:
    with pytest.raises(
        InputError, match="vocabulary must have 1 to" if vocab_size < 1 else "context must be at least 1"
    ):
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


# --- predictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
def test_probabilities_sum_to_1(kind: str) -> None:
    model = make(kind)
    for length in range(model.min_context, 5):
        probs = model.next_probs([4, 0, 3, 1][:length])
        assert len(probs) == 5
        assert min(probs) > 0
        assert sum(probs) == pytest.approx(1, abs=1e-12)


def rows_of(model: NetworkModel, name: str) -> list[list[float]]:
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
    assert model.next_probs(context) == close([math.exp(logit) / total for logit in logits], 1e-12)


def plain_attention(model: NetworkModel, context: Sequence[int]) -> tuple[list[float], list[float]]:
    """Model 600 by its formula: the attention weights of the last token, and the logits."""
    tokens, positions = rows_of(model, "token_embeddings.weight"), rows_of(model, "position_embeddings.weight")
    xs = [[a + b for a, b in zip(tokens[token_id], positions[t], strict=True)] for t, token_id in enumerate(context)]
    w_q, w_k, w_v = (rows_of(model, f"attention.{part}_proj.weight") for part in "qkv")
    query = [dot(row, xs[-1]) for row in w_q]
    keys = [[dot(row, x) for row in w_k] for x in xs]
    values = [[dot(row, x) for row in w_v] for x in xs]
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
    assert model.next_probs(context) == close([math.exp(logit) / total for logit in logits], 1e-12)
    bias_only, last = model.logit_lens(context)
    assert last.attention[0] == close(shares, 1e-12)
    assert last.logits == close(logits, 1e-12)
    assert bias_only.logits == list(model.network.state_dict()["output.bias"].data)


@pytest.mark.parametrize("kind", ["attention", "gpt", "llama"])
def test_one_reading_predicts_at_every_position(kind: str) -> None:
    # A prediction depends on no later token; so fewer tokens than N are a window's beginning.
    model = make(kind)
    context = [4, 0, 3, 1]
    rows = model.network([context], exact=True).tolist()[0]
    for length in range(1, 5):
        assert model.logits(context[:length]) == close(rows[length - 1])


@pytest.mark.parametrize("kind", NETWORKS)
def test_order_of_the_context_matters(kind: str) -> None:
    model = make(kind)
    assert model.next_probs([0, 1, 2, 3]) != close(model.next_probs([1, 0, 2, 3]), 1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("ids", [(), (0, 1, 2, 5), (0, 1, 2, -1), (5, 0, 0, 0), (10**30, 0, 0, 0), (4, 5, 0, 0, 0)])
def test_ids_that_are_no_context_are_refused(kind: str, ids: tuple[int, ...]) -> None:
    model = make(kind)
    for method in (model.next_probs, model.logits, model.logit_lens):
        with pytest.raises(ValueError, match=r"0 to 4, got \(" if ids else "got 0$"):
            method(ids)
    assert model.next_probs([0, 1, 2, 3]) == read_anew(model, [0, 1, 2, 3])


@pytest.mark.parametrize("kind", NETWORKS)
def test_only_the_last_n_tokens_count(kind: str) -> None:
    model = make(kind)
    assert model.next_probs([5, 4, 0, 1, 2, 3]) == model.next_probs([0, 1, 2, 3])
    assert model.logit_lens([3, 0, 1, 2, 3]) == model.logit_lens([0, 1, 2, 3])


def test_embeddings_need_a_full_context() -> None:
    model = make("embeddings")
    for length in range(4):
        with pytest.raises(InputError, match=f"needs 4 tokens to start from, got {length}"):
            model.next_probs([0] * length)
    assert model.min_context == 4
    assert {make(kind).min_context for kind in NETWORKS[1:]} == {1}


# Large enough for the packed kernel, which is not exact.
LARGE = {
    "embeddings": Architecture(16, 64),
    "attention": Architecture(16),
    "gpt": Architecture(16, 64, 2, 2),
    "llama": Architecture(16, 64, 2, 2),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_predictions_are_exact(kind: str) -> None:
    model = class_of(kind)(20, 6, LARGE[kind], seed=3)
    with mock.patch.object(kernels, "packed_matmul", side_effect=ArithmeticError):
        assert model.logit_lens([0, 1, 2, 3, 4, 5])[-1].logits == close(model.logits([0, 1, 2, 3, 4, 5]), 1e-12)
        with pytest.raises(ArithmeticError):  # so the line above would notice
            model.network([[0, 1, 2, 3, 4, 5]])


# --- scores of a text -------------------------------------------------------------------------------------------


def contexts_by_the_rule(
    kind: str, context_size: int, vocab_size: int, token_ids: Sequence[int], start: int
) -> list[Sequence[int] | None]:
    """The context of each token from ``start`` on; None for a token that is scored blindly.

    An unknown token splits the text. In each part, from the first token that has enough before it, tokens are taken
    N/2 at a time, and all of them see what the last of them has in its window. Model 500 takes them one by one.
    """
    least, at_once = (context_size, 1) if kind == "embeddings" else (1, max(context_size // 2, 1))
    contexts: dict[int, Sequence[int]] = {}
    begin = 0
    for end in [*(i for i, token_id in enumerate(token_ids) if token_id == vocab_size), len(token_ids)]:
        for first in range(max(begin + least, start), end, at_once):
            group = range(first, min(first + at_once, end))
            window_begin = max(group[-1] - context_size, begin)
            contexts.update((i, token_ids[window_begin:i]) for i in group)
        begin = end + 1
    return [contexts.get(i) for i in range(start, len(token_ids))]


def assert_scored_by_the_rule(kind: str, model: NetworkModel, token_ids: Sequence[int], start: int) -> None:
    expected = contexts_by_the_rule(kind, model.context_size, model.vocab_size, token_ids, start)
    found = list(model.score(token_ids, start))
    assert len(found) == len(expected) == max(len(token_ids) - start, 0)
    for prediction, context, target in zip(found, expected, token_ids[start:], strict=True):
        assert prediction.context_seen is None
        if context is None:
            assert prediction == (1 / model.vocab_size, 0, None)
            continue
        probs = model.next_probs(context)
        assert prediction.probability == pytest.approx(probs[target], abs=1e-12)
        assert prediction.most_likely == argmax(probs)


def test_contexts_by_hand() -> None:
    text = [0, 1, 2, 3, 4, 0, 1, 2]
    # N = 4: tokens two at a time. The pair at positions 5 and 6 sees what the token at 6 sees: positions 2 to 5.
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
    for kind in NETWORKS:
        for size in range(1, 5):
            assert_scored_by_the_rule(kind, make(kind, 5, size), text, 0)


@pytest.mark.parametrize("kind", NETWORKS)
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


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("start", [0, 1, 3, 30])
def test_long_text_is_scored_in_several_batches(kind: str, start: int) -> None:
    generator = random.Random(start)
    text = [generator.randrange(5) for _ in range(90)]
    assert_scored_by_the_rule(kind, make(kind, 5, 4), text, start)
    text[50] = 5
    assert_scored_by_the_rule(kind, make(kind, 5, 5), text, start)


@pytest.mark.parametrize("kind", NETWORKS)
def test_groups_are_half_a_window(kind: str) -> None:
    strides = [make(kind, 5, size).stride for size in range(1, 8)]
    assert strides == ([1] * 7 if kind == "embeddings" else [1, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize("kind", NETWORKS)
def test_score_keeps_no_record_of_contexts(kind: str) -> None:
    scores = summarize(zip(make(kind).score([0, 1, 2, 3, 4, 0], 4), [4, 0], strict=True))
    assert (scores.num_tokens, scores.unseen_context_share) == (2, None)


# --- caches: what was read need not be read again ---------------------------------------------------------------


def assert_as_if_read_anew(model: NetworkModel, contexts: Sequence[Sequence[int]]) -> None:
    cache = model.new_cache()
    for context in contexts:
        assert model.next_probs(context, cache) == close(read_anew(model, context))


def sliding(text: Sequence[int], size: int) -> list[Sequence[int]]:
    """The contexts of a text that grows token by token, until the window is full and slides."""
    return [text[max(end - size, 0) : end] for end in range(1, len(text) + 1)]


ORDERS: Mapping[str, Sequence[Sequence[int]]] = {
    "growing and sliding": sliding([0, 1, 2, 3, 4, 0, 1, 1, 1, 1, 1, 1, 1], 6),
    "the same again": [[0, 1], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2]],
    "several tokens more": [[0], [0, 1, 2], [0, 1, 2, 3, 4, 0]],
    "shorter again": [[0, 1, 2, 3], [0, 1], [0, 1, 2], [0]],
    "back and forth": [[0, 1], [3, 4], [0, 1, 2], [3, 4, 2], [3, 4, 2, 1], [0, 1, 2, 1]],
    "another beginning": [[0, 1, 2], [1, 1, 2, 3], [0, 1, 2, 3], [0, 2, 2, 3, 4]],
    "another last token": [[0, 1, 2], [0, 1, 3, 4]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_cache_changes_no_number(kind: str, order: str) -> None:
    assert_as_if_read_anew(make(kind, context_size=6), ORDERS[order])
    # Full precision everywhere: what a cache holds must not depend on how many tokens were read at once.
    model = class_of(kind)(20, 6, LARGE[kind], seed=3)
    with mock.patch.object(kernels, "packed_matmul", side_effect=AssertionError("the packed kernel ran")):
        assert_as_if_read_anew(model, ORDERS[order])
        cache = model.new_cache()
        for context in ORDERS[order]:
            assert softmax(model.logits(context, cache)) == close(read_anew(model, context))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_cache_in_any_order(kind: str) -> None:
    model = make(kind, 3, 4)

    @few_examples
    @given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=12))
    def check(texts: list[list[int]]) -> None:
        cache = model.new_cache()
        for text in texts:
            assert model.next_probs(text, cache) == close(read_anew(model, text[-4:]))

    check()


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_only_new_tokens_are_read(kind: str) -> None:
    model = make(kind, context_size=4)
    read: list[Sequence[int]] = []
    real = TransformerLM.states

    def noting(network: TransformerLM, ids: Sequence[Sequence[int]], caches: Any = None, **options: bool) -> Tensor:
        read.extend(ids)
        return real(network, ids, caches, **options)

    cache = model.new_cache()
    with mock.patch.object(TransformerLM, "states", noting):
        for context in ([0], [0, 1], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [2, 3], [2, 3, 1]):
            model.next_probs(context, cache)
    assert [list(ids) for ids in read] == [[0], [1], [2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [3], [1]]


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_caches_are_independent_of_each_other_and_of_the_model(kind: str) -> None:
    model = make(kind)
    one, other = model.new_cache(), model.new_cache()
    model.next_probs([0, 1], one)
    model.next_probs([4, 3, 2], other)
    model.next_probs([3, 3])
    list(model.score([4, 3, 2, 1, 0]))
    model.logit_lens([3, 3])
    assert (one.ids, other.ids) == ((0, 1), (4, 3, 2))
    for cache, text in ((one, [0, 1, 2]), (other, [4, 3, 2, 0]), (one, [0, 1, 2, 3])):
        assert model.next_probs(text, cache) == close(read_anew(model, text))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_interrupted_reading_leaves_no_half_read_cache(kind: str) -> None:
    # Ctrl-C in the second block, when the first has already taken the new token in.
    model = make(kind)
    cache = model.new_cache()
    assert isinstance(model.network, TransformerLM)
    second = model.network.blocks[1].feed_forward
    assert isinstance(second, FeedForward | SwiGLU)
    model.next_probs([0, 1], cache)
    with mock.patch.object(second, "forward", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        model.next_probs([0, 1, 2], cache)
    for context in ([0, 1, 2], [0, 1, 2, 3]):
        assert model.next_probs(context, cache) == close(read_anew(model, context))


# --- the logit lens -----------------------------------------------------------------------------------------------

STEPS = {
    "embeddings": ["no token", "last token", "last 2 tokens", "last 3 tokens", "last 4 tokens"],
    "attention": ["no token", "attention"],
    "gpt": ["embeddings", "block 1", "block 2"],
    "llama": ["embeddings", "block 1", "block 2"],
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_last_step_is_the_prediction(kind: str) -> None:
    model = make(kind)
    for length in range(model.min_context, 5):
        context = [4, 0, 3, 1][:length]
        steps = model.logit_lens(context)
        assert steps[-1].logits == close(model.logits(context))
        assert [step.place for step in steps] == STEPS[kind]
        assert {len(step.logits) for step in steps} == {5}
        heads = {"attention": [0, 1], "gpt": [0, 2, 2], "llama": [0, 2, 2]}.get(kind, [0] * 5)
        assert [len(step.attention) for step in steps] == heads
        for weights in (weights for step in steps for weights in step.attention):
            assert len(weights) == length
            assert min(weights) > 0
            assert sum(weights) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("hidden", [0, 5])
def test_lens_of_embeddings_knows_the_last_tokens(hidden: int) -> None:
    # A token that is not yet known is a vector of zeros: which one it is does not matter.
    model = make("embeddings", architecture=Architecture(3, hidden))
    one, other = model.logit_lens([0, 1, 2, 3]), model.logit_lens([4, 4, 2, 3])
    for known in range(5):
        same = one[known].logits == close(other[known].logits)
        assert same == (known <= 2)
    zeros = make("embeddings", architecture=Architecture(3, hidden))
    embeddings = zeros.network.state_dict()["token_embeddings.weight"]
    embeddings.data = array("d", [0.0] * len(embeddings.data))
    assert one[0].logits == close(zeros.logits([0, 0, 0, 0]))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_block_that_adds_nothing_changes_no_logit(kind: str) -> None:
    model = make(kind)
    silent = ("o_proj", "down_proj")
    for name, parameter in model.network.named_parameters():
        if name.startswith("blocks.1.") and name.split(".")[-2] in silent:
            parameter.data = array("d", [0.0] * len(parameter.data))
    embeddings, first, second = model.logit_lens([4, 0, 3, 1])
    assert second.logits == close(first.logits)
    assert first.logits != close(embeddings.logits, 1e-3)


# --- the weights ------------------------------------------------------------------------------------------------


def test_files_of_parameters() -> None:
    assert parameter_file("output.weight") == "02_model_weights.csv"
    assert parameter_file("attention.q_proj.weight") == "05_W_Q.csv"
    assert parameter_file("blocks.0.attention.v_proj.bias") == "10_b_V.csv"
    assert parameter_file("blocks.11.norm_2.weight") == "22_norm_2_gain_block_12.csv"
    for kind in NETWORKS:
        names = [name for name, _ in make(kind).network.named_parameters()]
        assert len({parameter_file(name) for name in names}) == len(names)


@pytest.mark.parametrize("kind", NETWORKS)
def test_tables_hold_every_number(kind: str) -> None:
    model, other = make(kind), make(kind, seed=1)
    content = model.content()
    tables = content.tables
    assert (content.layout, content.tensors) == ("tables", {})
    assert [table.name for table in tables] == sorted(table.name for table in tables)
    assert other.expected_tables("tables", list("abcde")) == {table.name: table.columns for table in tables}
    rows = {table.name: list(table.rows) for table in tables}
    assert {table.name: table.num_rows for table in tables} == {name: len(rows[name]) for name in rows}
    other.load_tables(rows)
    for mine, theirs in zip(model.network.parameters(), other.network.parameters(), strict=True):
        assert mine.data == theirs.data
    assert other.next_probs([0, 1, 2, 3]) == model.next_probs([0, 1, 2, 3])


@pytest.mark.parametrize("kind", NETWORKS)
def test_tables_that_do_not_fit_change_nothing(kind: str) -> None:
    model = make(kind)
    rows = {table.name: list(table.rows) for table in make(kind, seed=1).content().tables}
    before = [parameter.data[:] for parameter in model.network.parameters()]
    for name in rows:
        for damaged in (rows[name][1:], rows[name][:-1], rows[name] + rows[name][-1:], rows[name][::-1]):
            with pytest.raises(ValueError):
                model.load_tables({**rows, name: damaged})
    assert [parameter.data for parameter in model.network.parameters()] == before


def tensors_of(model: NetworkModel) -> dict[str, tuple[tuple[int, ...], Any]]:
    return {name: (parameter.shape, parameter.data) for name, parameter in model.network.named_parameters()}


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_that_do_not_fit_change_nothing(kind: str) -> None:
    model = make(kind)
    weights = tensors_of(make(kind, seed=1))
    before = [parameter.data[:] for parameter in model.network.parameters()]
    first, *_, last = weights
    turned = weights[first][0][::-1], weights[first][1]
    wrong = [
        ({name: weights[name] for name in weights if name != last}, last),
        ({**weights, "output.gain": weights[last]}, "output.gain"),
        ({**weights, first: turned}, first),
        ({}, first),
    ]
    for state, named in wrong:
        with pytest.raises(ValueError, match=named):
            model.load_tensors(state)
    assert [parameter.data for parameter in model.network.parameters()] == before


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("number", [1.001e6, -1.001e6, 1e308, math.inf, -math.inf])
def test_weight_beyond_reason_changes_nothing(kind: str, number: float) -> None:
    model = make(kind)
    before = [parameter.data[:] for parameter in model.network.parameters()]
    weights = tensors_of(make(kind, seed=1))
    shape, data = weights["output.weight"]
    weights["output.weight"] = shape, array("d", [*data[:-1], number])
    with pytest.raises(InputError, match=r"output\.weight"):
        model.load_tensors(weights)
    assert [parameter.data for parameter in model.network.parameters()] == before
    weights["output.weight"] = shape, array("d", [*data[:-1], math.copysign(1e6, number)])
    model.load_tensors(weights)
    assert sum(model.next_probs([0, 1, 2, 3])) == pytest.approx(1)


def numbers_of(model: NetworkModel) -> list[float]:
    return [number for parameter in model.network.parameters() for number in parameter.data]


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_are_rounded_to_what_files_hold(kind: str) -> None:
    def fit(model: NetworkModel) -> list[float]:
        """Train for no step; what is left of fit() is the rounding."""
        before = numbers_of(model)

        def nothing(*_: Any, **__: Any) -> Iterator[Any]:
            yield from ()
            return {}

        with mock.patch.object(network_module, "train_steps", side_effect=nothing):
            assert list(model.fit(Text([0] * 9, 9), settings_for(kind))) == []
        return before

    model = make(kind)
    first = model.network.parameters()[0]
    first.data = array("d", [-1e-9, *first.data[1:]])
    with mock.patch.object(network_module, "LARGEST_IN_TABLES", model.num_parameters()):
        numbers = fit(model)
        assert numbers_of(model) == [float(f"{number:.6f}") for number in numbers] != numbers
        assert math.copysign(1, numbers_of(model)[0]) == 1  # never -0.0, which is written as 0
        assert (model.content().layout, model.content().decimals) == ("tables", 6)
    with mock.patch.object(network_module, "LARGEST_IN_TABLES", model.num_parameters() - 1):
        many = make(kind, seed=2)
        numbers = fit(many)
        assert numbers_of(many) == list(array("f", numbers)) != numbers
        content = many.content()
        assert (content.layout, content.decimals, list(content.tables)) == ("safetensors", None, [])
        assert {name: (shape, list(data)) for name, (shape, data) in content.tensors.items()} == {
            name: (shape, list(data)) for name, (shape, data) in tensors_of(many).items()
        }


@pytest.mark.parametrize("kind", NETWORKS)
def test_metadata_lists_every_parameter(kind: str) -> None:
    model = make(kind)
    for in_tables in (True, False):
        with mock.patch.object(network_module, "LARGEST_IN_TABLES", 10**9 if in_tables else 0):
            listed = model.content().about["parameters"]
        assert [(entry["name"], tuple(entry["shape"])) for entry in listed] == [
            (name, parameter.shape) for name, parameter in model.network.named_parameters()
        ]
        files = [entry["file"] for entry in listed]
        assert files == (
            [parameter_file(entry["name"]) for entry in listed]
            if in_tables
            else ["02_model_weights.safetensors"] * len(listed)
        )


# --- how large: Architecture ------------------------------------------------------------------------------------


def test_architecture_from_metadata() -> None:
    full = {"embedding_dim": 8, "hidden_dim": 0, "heads": 4, "layers": 3, "dropout": 0.5}
    assert Architecture.from_mapping(full) == Architecture(8, 0, 4, 3, 0.5)
    assert Architecture.from_mapping({**full, "dropout": 0}).dropout == 0


HOSTILE: tuple[object, ...] = (10**9, 2**70, -1, True, False, 4.0, "4", None, [4], {})


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


def settings_of(kind: str, size: str = "tiny", context: int | None = None, **numbers: Any) -> NetworkSettings:
    return class_of(kind).settings(kind, context, size=size, **numbers)


@pytest.mark.parametrize(("kind", "size"), [(kind, size) for kind in NETWORKS for size in SIZES[kind]])
def test_dial_gives_what_the_table_says(kind: str, size: str) -> None:
    given_numbers, found = SIZES[kind][size], settings_of(kind, size)
    for name in ("context", "steps", "batch_size", "learning_rate"):
        assert getattr(found, name) == getattr(given_numbers, name)
    for name in ("embedding_dim", "heads", "layers"):
        assert getattr(found.architecture, name) == getattr(given_numbers, name)
    assert (found.weight_decay, found.clip, found.architecture.dropout) == (0.1, 1.0, 0.2 if size == "xl" else 0.0)
    assert (found.warmup, found.eval_every) == (found.steps // 20, found.steps // 20)
    assert found.micro_batch == found.batch_size // 4
    if size != "xl":  # which takes seconds
        class_of(kind)(2, 2, found.architecture)  # a network of this size can be built


def test_larger_sizes_are_larger() -> None:
    for kind in NETWORKS:
        counts = [
            class_of(kind).count_parameters(500, found.context, found.architecture)
            for found in (settings_of(kind, size) for size in SIZES[kind])
        ]
        found = [settings_of(kind, size) for size in SIZES[kind]]
        tokens = [one.steps * one.batch_size * one.context for one in found]
        assert counts == sorted(set(counts))
        assert tokens == sorted(set(tokens))
        assert find_model(kind).default_context == settings_of(kind).context


def test_what_is_given_counts() -> None:
    numbers: dict[str, Any] = {
        "context": 6,
        "embedding_dim": 12,
        "hidden_dim": 7,
        "heads": 3,
        "layers": 4,
        "dropout": 0.25,
        "steps": 11,
        "batch_size": 9,
        "micro_batch": 2,
        "learning_rate": 0.5,
        "warmup": 3,
        "weight_decay": 0.0,
        "clip": 2.0,
        "eval_every": 6,
        "eval_windows": 7,
        "beta1": 0.5,
        "beta2": 0.25,
        "schedule": "linear",
        "last_rate": 0.0,
        "short_first": 0.5,
        "burn_in": 0.25,
        "start_after": ".",
    }
    found = settings_of("gpt", "medium", **numbers)
    assert found.architecture == Architecture(12, 7, 3, 4, 0.25)
    shape = ("embedding_dim", "hidden_dim", "heads", "layers", "dropout")
    others: dict[str, Any] = {name: value for name, value in numbers.items() if name not in shape}
    assert found == NetworkSettings(architecture=found.architecture, **others)
    assert settings_of("gpt", "medium", **dict.fromkeys(numbers)) == settings_of("gpt", "medium")


def test_what_follows_follows_the_given() -> None:
    assert settings_of("gpt", embedding_dim=16).architecture.hidden_dim == 64
    # 8/3 of 16 is 42.67, and the next multiple of 8 is 48; of 24 it is 64, which is one.
    assert settings_of("llama", embedding_dim=16).architecture.hidden_dim == 48
    assert settings_of("llama", embedding_dim=24).architecture.hidden_dim == 64
    assert settings_of("llama", embedding_dim=16, hidden_dim=5).architecture.hidden_dim == 5
    assert [
        settings_of("embeddings", size, embedding_dim=5).architecture.hidden_dim for size in SIZES["embeddings"]
    ] == [size.hidden_dim for size in SIZES["embeddings"].values()]
    assert settings_of("embeddings", "small", hidden_dim=0).architecture.hidden_dim == 0
    found = settings_of("gpt", steps=100, batch_size=20)
    assert (found.warmup, found.eval_every, found.micro_batch) == (5, 5, 5)
    found = settings_of("gpt", steps=3, batch_size=3)
    assert (found.warmup, found.eval_every, found.micro_batch) == (0, 1, 1)


WRONG_SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("gpt", {"size": "huge"}, "unknown size 'huge' of gpt; there are tiny, small, medium, large, xl"),
    ("embeddings", {"size": "xl"}, "unknown size 'xl' of embeddings; there are tiny, small, medium"),
    ("gpt", {"size": ""}, "unknown size ''"),
    ("gpt", {"heads": 3}, "3 heads cannot share"),
    ("gpt", {"hidden_dim": 0}, "feed-forward"),
    ("llama", {"embedding_dim": 6, "heads": 2}, "in pairs"),
    ("gpt", {"heads": 0}, "heads must be from 1"),
    ("gpt", {"layers": 0}, "layers must be from 1"),
    ("gpt", {"embedding_dim": 0}, "embedding_dim must be from 1"),
    ("gpt", {"embedding_dim": 10**9}, "embedding_dim must be from 1"),
    ("gpt", {"hidden_dim": -1}, "hidden_dim must be from 0"),
    *(
        ("gpt", {name: 0}, f"the {name.replace('_', ' ')} must be at least 1")
        for name in ("context", "steps", "batch_size", "micro_batch", "eval_every")
    ),
    ("gpt", {"warmup": -1}, "warmup"),
    *(("gpt", {"learning_rate": value}, "learning rate") for value in (0.0, -1.0, 1001.0, math.nan, math.inf)),
    *(("gpt", {"clip": value}, "clip") for value in (-1.0, 1e10, math.nan, math.inf)),
    *(("gpt", {"weight_decay": value}, "weight decay") for value in (-0.1, 1e9, math.nan, math.inf)),
    ("llama", {"heads": 4, "kv_heads": 3}, "4 heads cannot share 3 heads of keys"),
    ("llama", {"kv_heads": -1}, "kv_heads must be from 0"),
    *(("gpt", {"norm_eps": value}, "norm_eps must be from") for value in (0.0, 2.0, math.nan)),
    ("llama", {"head_dim": 3}, "in pairs"),
    ("llama", {"head_dim": -2}, "head_dim must be from 0"),
    *(("llama", {"rope_scaling": RopeScaling(value)}, "the factor of rope_") for value in (0.5, 1e7, math.nan)),
    ("llama", {"rope_scaling": RopeScaling(2.0, 4.0, 1.0, 8)}, "the second one above the first, got 4.0 and 1.0"),
    ("llama", {"rope_scaling": RopeScaling(2.0, 1.0, math.nan, 8)}, "the second one above the first"),
    ("llama", {"rope_scaling": RopeScaling(2.0, 1.0, 4.0, -1)}, "original_context of rope_scaling must be from 0"),
    *(("gpt", {"dropout": value}, "dropout") for value in (1.0, -0.1, math.nan)),
]


@pytest.mark.parametrize(("kind", "numbers", "words"), WRONG_SETTINGS, ids=lambda value: str(value)[:30])
def test_settings_that_make_no_sense(kind: str, numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        settings_of(kind, **numbers)
    assert "\n" not in str(refusal.value)


def test_each_network_has_the_options_it_uses() -> None:
    shape = {"embedding_dim", "hidden_dim", "heads", "layers", "dropout"}
    with_bias = {"embedding_dim", "bias"}
    expected = {"embeddings": with_bias | {"hidden_dim"}, "attention": with_bias, "gpt": shape | {"tied"}}
    expected["llama"] = expected["gpt"] | {"rope_base", "kv_heads", "attention_bias"}
    of_windows = {"short_first", "burn_in", "start_after"}
    others = {field.name for field in fields(NetworkSettings)} - {"context", "architecture"} - of_windows | {"size"}
    for kind in NETWORKS:
        windows = set() if kind == "embeddings" else of_windows  # it needs windows of exactly N tokens
        assert set(class_of(kind).options) == expected[kind] | windows | others


# --- the floor of long contexts ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 40), st.integers(0, 2**32))
def test_floor_is_the_conditional_entropy(context_size: int, vocab_size: int, more: int, seed: int) -> None:
    generator = random.Random(seed)
    # Phrases that come again, so that even twelve tokens are met twice.
    phrases = [[generator.randrange(vocab_size) for _ in range(generator.randrange(1, 15))] for _ in range(2)]
    text: list[int] = []
    while len(text) < context_size + 1 + more:
        text += generator.choice(phrases)
    text = text[: context_size + 1 + more]
    entropy = conditional_entropy(training_pairs(text, context_size))
    assert longest_context_floor(text, context_size) == pytest.approx(entropy, abs=1e-12)


def test_floor_of_long_contexts_by_hand() -> None:
    # The same ten tokens twice, then two different ones: of the 12 positions after ten tokens, two leave log 2.
    text = [*range(10), 10, *range(10), 11]
    assert longest_context_floor(text, 10) == pytest.approx(2 * math.log(2) / 12, abs=1e-12)
    assert longest_context_floor(text, 11) == 0
    # The last eight tokens are the same, the one before them is not.
    text = [20, *range(8), 10, 21, *range(8), 11]
    assert longest_context_floor(text, 8) == pytest.approx(2 * math.log(2) / 12, abs=1e-12)
    assert longest_context_floor(text, 9) == 0
    # Ids that are no characters of their own in Unicode.
    assert longest_context_floor([0xD800, 0xDFFF, 0xD800, 0x10FFFF], 1) == pytest.approx(2 * math.log(2) / 3)


def test_transformers_are_those_with_a_cache() -> None:
    assert [kind for kind in NETWORKS if make(kind).new_cache() is not None] == list(TRANSFORMERS)
    assert [kind for kind in NETWORKS if issubclass(class_of(kind), TransformerModel)] == list(TRANSFORMERS)
