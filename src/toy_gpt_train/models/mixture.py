r"""mixture.py - Model 460: how far should I trust a long memory? Learn it.

Several Kneser-Ney models look at the same history, each in its own way: the last 3, 5 or 8 characters, the word so far
and the words before it, the column in the line. Each is an expert with a distribution of its own. The distributions are
multiplied, each raised to a learned power (its mixture weight), and normalized:

    p(w | h) = exp(sum_k lambda_k(h) log p_k(w | h)) / Z(h)

The weights are a base plus a correction from each gate: the previous token, the column in the line, and how long a
context the longest memory matched and how often it had met it. They start at 1/K and always sum to 1. The gradient of
the loss is, as for softmax, the expected value minus the actual one:

    d(-log p(w)) / d lambda_k = -(log p_k(w) - sum_v p(v) log p_k(v))

REQ: the weights are learned on a tenth of the training text that the experts have not counted yet.
WHY: an expert is nearly always right about text that it has counted, so it would be trusted blindly.

Source: Hinton (2002), "Training products of experts by minimizing contrastive divergence", for products; Klakow (1998),
"Log-linear interpolation of language models", for language models; Mahoney (2005), "Adaptive weighing of context models
for lossless data compression", for weights chosen by context.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp, log
from operator import mul
from typing import Any, ClassVar, Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, add_up, argmax, softmax
from toy_gpt_train.models.base import (
    COUNT,
    NUMBER,
    TEXT,
    Column,
    Content,
    Model,
    ModelTable,
    OnStart,
    Record,
    Text,
)
from toy_gpt_train.models.expert import Expert
from toy_gpt_train.models.kneser_ney import (
    DISCOUNTS,
    DISCOUNTS_NAME,
    FALLBACK_DISCOUNTS,
    Discounts,
    check_discounts,
)
from toy_gpt_train.models.mixture_tables import (
    WEIGHTS_NAME,
    WORDS_NAME,
    code_point,
    counts_columns,
    counts_name,
    prefix_of,
)
from toy_gpt_train.models.ngram_trie import (
    EMPTY_TRIE,
    MOST_TENSOR_BYTES,
    Tensor,
    as_text,
    checked_ngrams,
    count_ngrams,
    layout_of,
    read_trie,
    sorted_trie,
)
from toy_gpt_train.models.scores import Prediction
from toy_gpt_train.models.views import LAGS, LONGEST_LAG, LOOK_BACK, TEXT_VIEWS, Views
from toy_gpt_train.progress import OnProgress

SLICE: Final = 0.1  # of the training text, at its end, for the weights
LARGEST_WEIGHT: Final = 1000.0  # in a file that is read; learned ones stay near 1

Weights = list[float]


class Recipe(NamedTuple):
    """Which experts there are, and what chooses their weights."""

    contexts: tuple[tuple[str, ...], ...]  # each expert's views, the most important first; backing off drops the last
    gates: tuple[str, ...]  # which corrections there are


# OBS: chosen by the loss on a slice of Tiny Shakespeare's training part, not on its validation part. The views of words
# and lines gained most, then the gate of the previous token; the gate of the match gained little.
_WORDS: Final = ("lag_1", "prefix", "lag_2", "word_1", "word_2")
_LINES: Final = ("lag_1", "lag_2", "lag_3", "prefix", "column")
CHARACTERS: Final = Recipe((LAGS[:3], LAGS[:5], LAGS[:8], _WORDS, _LINES), gates=("previous", "column", "matched"))
OTHER_TOKENS: Final = Recipe(contexts=(LAGS[:1], LAGS[:3]), gates=("matched",))
_GATE_VIEWS: Final = {"previous": "lag_1", "column": "column"}  # of all gates but the last, "matched"


class Reading(NamedTuple):
    """A text as the experts see it."""

    contexts: list[tuple[Expert, list[str]]]  # each expert, and the columns of its context
    gates: list[str]  # the columns whose values choose weights


class Opinions(NamedTuple):
    """What the experts say at one position of a text."""

    logs: list[list[float]]  # log p_k(w) as K lists of V, in each of which all may be off by the same number
    gates: list[int]  # the value of each gate
    matched: int  # how many lengths of the longest memory were met, including 0


def mix(logs: Sequence[Sequence[float]], vectors: Iterable[Weights]) -> list[float]:
    """Multiply the experts, each raised to its weight, and normalize.

    ``logs`` are log p_k(w) as K lists of V; the sum of ``vectors``, the base and the corrections, is the K weights.
    What is added to all V of a list changes nothing.

    Example:
        >>> [round(p, 4) for p in mix([[log(0.5), log(0.5)], [log(0.9), log(0.1)]], [[0.5, 0.5]])]
        [0.75, 0.25]
    """
    return softmax(mixed_logits(logs, vectors))


def mixed_logits(logs: Sequence[Sequence[float]], vectors: Iterable[Weights]) -> list[float]:
    """Return the logarithms of what mix() returns, before they are normalized."""
    weights = list(map(add_up, zip(*vectors, strict=True)))
    if len(weights) == len(CHARACTERS.contexts):
        # WHY written out: characters have five experts, and the loop below makes a new list of V scores for each.
        a, b, c, d, e = weights
        return [e * z + a * v + b * w + c * x + d * y for v, w, x, y, z in zip(*logs, strict=True)]
    scores = [0.0] * len(logs[0])
    for weight, row in zip(weights, logs, strict=True):
        scores = [score + weight * x for score, x in zip(scores, row, strict=True)]
    return scores


class Mixture(Model):
    """A learned log-linear mixture of Kneser-Ney models over different views of the history."""

    layouts: ClassVar[tuple[str, ...]] = ("tables", "safetensors")
    default_context: ClassVar[int] = LOOK_BACK
    learning_rate: ClassVar[float] = 0.003  # falls linearly to 0
    train_loss_on: ClassVar[str] = "the last tenth of the training text"

    def __init__(self, vocab_size: int, context_size: int = LOOK_BACK) -> None:
        super().__init__(vocab_size, context_size)
        if context_size != LOOK_BACK:
            raise InputError(f"the views look back {LOOK_BACK} tokens, not {context_size}")
        self._prepare([""] * vocab_size)

    def _prepare(self, tokens: Sequence[str]) -> None:
        self._views = Views(tokens)
        self.recipe = CHARACTERS if self._views.are_characters else OTHER_TOKENS
        self.experts = [Expert(self.vocab_size, len(views)) for views in self.recipe.contexts]
        self.base: Weights = [1 / len(self.experts)] * len(self.experts)  # the weights before correction
        self.corrections: list[dict[int, Weights]] = [{} for _ in self.recipe.gates]  # of each gate, by its value
        memories = [len(views) if set(views) <= set(LAGS) else 0 for views in self.recipe.contexts]
        self._longest = memories.index(max(memories))  # the expert with the longest memory of plain tokens

    @classmethod
    def min_tokens(cls, context: int) -> int:
        """Return the longest memory and two tokens: one to count, one to learn weights on."""
        return LONGEST_LAG + 2

    def fit(
        self,
        text: Text,
        settings: Any = None,
        *,
        seed: int = 0,
        on_start: OnStart | None = None,
        on_progress: OnProgress | None = None,
        **_: Any,
    ) -> Iterator[Record]:
        """Count most of the text, learn the weights on the rest, then count all of it.

        Its one record has ``avg_loss`` and ``accuracy`` on the last tenth, each token's taken before its update.
        Cost: K distributions over V tokens for each token of the last tenth; counting is quick in comparison.
        """
        ids = self.training_ids(text)
        if on_start is not None:
            on_start()
        cut = len(ids) - max(int(len(ids) * SLICE), 1)
        self._prepare(text.tokens or [""] * self.vocab_size)
        columns = self._views.in_order(self._views.columns(ids))
        self._count(columns, ids[:cut])
        learned = self._learn_weights(columns, ids, cut, seed, on_progress)
        self._count(columns, ids)
        yield {"epoch": 1, **learned}

    def loss_floor(self, train_ids: Sequence[int]) -> float:
        """Return the loss floor of the longest memory."""
        return self.experts[self._longest].loss_floor()

    def _count(self, columns: Mapping[str, str], ids: Sequence[int]) -> None:
        """Let every expert count a text, from the first position where none of its lags reaches before the text."""
        text = as_text(ids)
        for expert, names in zip(self.experts, self.recipe.contexts, strict=True):
            expert.learn_counts(EMPTY_TRIE, [FALLBACK_DISCOUNTS])  # WHY: to have one of old and new counts at a time
            start = _longest_lag(names)
            views = [columns[name][start : len(ids)] for name in names]
            expert.learn_counts(count_ngrams([*views, text[start:]]))

    def _learn_weights(
        self, columns: dict[str, str], ids: Sequence[int], start: int, seed: int, on_progress: OnProgress | None
    ) -> Record:
        """Take one step of gradient descent for each token from ``start`` on, in random order."""
        reading = self._reading(columns)
        positions = list(range(start, len(ids)))
        random.Random(seed).shuffle(positions)
        loss, correct = 0.0, 0
        for step, position in enumerate(positions):
            said = self._ask(reading, position)
            for by_value, value in zip(self.corrections, said.gates, strict=True):
                by_value.setdefault(value, [0.0] * len(self.experts))
            vectors = self._vectors(said.gates)
            probs, target = mix(said.logs, vectors), ids[position]
            loss -= log(max(probs[target], SMALLEST_PROBABILITY))
            correct += argmax(probs) == target
            rate = self.learning_rate * (1 - step / len(positions))
            slopes = [row[target] - add_up(map(mul, probs, row)) for row in said.logs]
            mean = add_up(slopes) / len(slopes)  # subtracted, so that the weights still sum to 1
            for vector in vectors:
                for k, slope in enumerate(slopes):
                    vector[k] += rate * (slope - mean)
            if on_progress is not None and step % 100 == 0:
                on_progress(step / len(positions), f"learning weights, loss {loss / (step + 1):.4f}")
        return {"avg_loss": loss / len(positions), "accuracy": correct / len(positions)}

    def _reading(self, columns: dict[str, str]) -> Reading:
        contexts = [[columns[name] for name in names] for names in self.recipe.contexts]
        return Reading(
            [*zip(self.experts, contexts, strict=True)], [columns[_GATE_VIEWS[gate]] for gate in self.recipe.gates[:-1]]
        )

    def _ask(self, reading: Reading, position: int) -> Opinions:
        said = [expert.log_probs("".join([view[position] for view in views])) for expert, views in reading.contexts]
        reached = said[self._longest][0]
        gates = [ord(column[position]) for column in reading.gates]
        # How long a context the longest memory matched, and how often it had met it, in powers of two.
        gates.append(10 * reached.length + min(reached.total.bit_length(), 9))
        return Opinions([row for _, row in said], gates, reached.length + 1)

    def _vectors(self, gates: Sequence[int]) -> list[Weights]:
        """Return the base and the correction from each gate, if its value was ever met; their sum is the weights."""
        found = (by_value.get(gate) for by_value, gate in zip(self.corrections, gates, strict=True))
        return [self.base, *(vector for vector in found if vector is not None)]

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities."""
        context = self.context(ids)
        said = self._ask(self._reading(self._views.columns(context)), len(context))
        return mix(said.logs, self._vectors(said.gates))

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text, with K distributions over V tokens per position; ``context_seen`` is the longest memory's."""
        first = max(start - LOOK_BACK, 0)
        reading = self._reading(self._views.columns(ids[first:]))
        longest = len(self.recipe.contexts[self._longest]) + 1
        for position in range(start, len(ids)):
            said, target = self._ask(reading, position - first), ids[position]
            scores = mixed_logits(said.logs, self._vectors(said.gates))
            top = max(scores)
            total = add_up([exp(score - top) for score in scores])
            probability = exp(scores[target] - top) / total if target < self.vocab_size else 0.0
            yield Prediction(probability, scores.index(top), said.matched == longest)

    def num_parameters(self) -> int:
        """Return the number of all the experts' counts and discounts, and of the weights."""
        vectors = 1 + sum(map(len, self.corrections))
        return sum(expert.num_parameters() for expert in self.experts) + vectors * len(self.experts)

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Set up the experts for a vocabulary; return the columns of each table."""
        self._prepare(tokens)
        return self._columns(layout)

    def _columns(self, layout: str) -> dict[str, tuple[Column, ...]]:
        weights = (Column(f"expert_{k}", NUMBER) for k in range(1, len(self.experts) + 1))
        counts = {counts_name(k): counts_columns(names) for k, names in enumerate(self.recipe.contexts)}
        return {
            **(counts if layout == "tables" else {}),
            DISCOUNTS_NAME: (Column("expert", COUNT), Column("context_size", COUNT), *DISCOUNTS),
            WEIGHTS_NAME: (Column("gate", TEXT), Column("value", COUNT), *weights),
            **({} if layout == "tables" else {WORDS_NAME: (Column("code", COUNT), Column("word", TEXT))}),
        }

    def content(self) -> Content:
        """Return every expert's counts, the discounts, the weights, and the recipe."""
        num_ngrams = [expert.trie.num_ngrams() for expert in self.experts]
        layout = layout_of(sum(num_ngrams))
        discounts = [
            (k, length, *taken)
            for k, expert in enumerate(self.experts, start=1)
            for length, taken in enumerate(expert.discounts)
        ]
        weights: list[tuple[Any, ...]] = [("base", 0, *self.base)]
        for gate, by_value in zip(self.recipe.gates, self.corrections, strict=True):
            weights += [(gate, value, *vector) for value, vector in sorted(by_value.items())]
        words = [(ord(code), text) for code, text in self._views.text_of_code().items()]
        rows: dict[str, tuple[int, Iterable[tuple[Any, ...]]]] = {
            DISCOUNTS_NAME: (len(discounts), discounts),
            WEIGHTS_NAME: (len(weights), weights),
            WORDS_NAME: (len(words), words),
        }
        if layout == "tables":
            for k, (expert, names) in enumerate(zip(self.experts, self.recipe.contexts, strict=True)):
                rows[counts_name(k)] = num_ngrams[k], sorted(self._count_rows(expert, names))
        tables = [ModelTable(name, columns, *rows[name]) for name, columns in self._columns(layout).items()]
        recipe = {"chains": list(map(list, self.recipe.contexts)), "gates": list(self.recipe.gates)}
        return Content(layout, tables, self._tensors() if layout == "safetensors" else {}, about={"recipe": recipe})

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for k, expert in enumerate(self.experts):
            tensors |= expert.trie.tensors(prefix_of(k))
        return tensors

    def _count_rows(self, expert: Expert, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield an expert's longest n-grams: the views of the context, oldest first, the token, and the count."""
        texts = self._views.text_of_code()
        read = [texts.__getitem__ if name in TEXT_VIEWS else ord for name in names]
        for ngram, count in expert.trie.ngrams():
            values = [value(code) for value, code in zip(read, ngram[:-1], strict=True)]
            yield (*reversed(values), ord(ngram[-1]), count)

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield each expert's counts."""
        for k, (expert, names) in enumerate(zip(self.experts, self.recipe.contexts, strict=True)):
            yield counts_name(k), expert.token_counts(), _longest_lag(names)

    @property
    def most_tensor_bytes(self) -> int:
        """As many as there can be: they are looked at piece by piece."""
        return MOST_TENSOR_BYTES

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the experts' counts, if they are not in tables."""
        for k, expert in enumerate(self.experts):
            expert.trie = read_trie(tensors, expert.context_size, self.vocab_size, prefix_of(k))
        if tensors.keys() != self._tensors().keys():
            raise ValueError("it has more tensors than the counts")

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described."""
        if WORDS_NAME in tables:
            self._read_words(tables[WORDS_NAME])
        else:
            for k, expert in enumerate(self.experts):
                expert.trie = sorted_trie(self._read_ngrams(k, tables[counts_name(k)]))
        wanted = [(k, n) for k, names in enumerate(self.recipe.contexts, 1) for n in range(len(names) + 1)]
        discounts: dict[tuple[int, int], Discounts] = {}
        for k, length, *numbers in tables[DISCOUNTS_NAME]:
            if (checked := check_discounts(numbers)) is None:
                raise ValueError("a discount takes nothing, or more than was counted")
            discounts[k, length] = checked
        if sorted(discounts) != wanted:
            raise ValueError(f"{DISCOUNTS_NAME}: not a row for each expert and length")
        for k, expert in enumerate(self.experts, start=1):
            expert.learn_counts(expert.trie, [discounts[k, n] for n in range(expert.context_size + 1)])
        self._read_weights(tables[WEIGHTS_NAME])

    def _read_words(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take over which code point stands for which prefix or word."""
        for number, (code, text) in enumerate(rows):
            if code != number or ord(self._views.code(text)) != number:
                raise ValueError("a word that occurs twice, or out of order")
        num_words = len(self._views.text_of_code())
        for expert, names in zip(self.experts, self.recipe.contexts, strict=True):
            for name, level in zip(names, expert.trie.levels[1:], strict=True):
                if name in TEXT_VIEWS and max(level.values) >= num_words:
                    raise ValueError(f"{WORDS_NAME}: fewer words than there are in the counts")

    def _read_ngrams(self, k: int, rows: Iterable[tuple[Any, ...]]) -> dict[str, int]:
        write = [self._views.code if name in TEXT_VIEWS else code_point for name in self.recipe.contexts[k]]
        counted = (
            ("".join(code(value) for code, value in zip(write, reversed(values), strict=True)) + chr(token_id), count)
            for *values, token_id, count in rows
        )
        return checked_ngrams(counted, counts_name(k))

    def _read_weights(self, rows: Iterable[tuple[Any, ...]]) -> None:
        by_gate = dict(zip(self.recipe.gates, self.corrections, strict=True))
        for number, (gate, value, *vector) in enumerate(rows):
            if max(map(abs, vector)) > LARGEST_WEIGHT:
                raise ValueError(f"a weight out of all proportion: {max(vector, key=abs)}")
            if number == 0 and gate == "base":
                self.base = vector
            elif gate in by_gate and value not in by_gate[gate]:
                by_gate[gate][value] = vector
            else:
                raise ValueError(f"the gate {gate[:20]!r} is unknown, out of place or given twice")


def _longest_lag(names: Sequence[str]) -> int:  # how many tokens back a context looks by position
    return max(LAGS.index(name) + 1 if name in LAGS else 0 for name in names)
