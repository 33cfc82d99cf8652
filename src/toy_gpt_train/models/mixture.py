r"""mixture.py - Rung 460: how far should I trust a long memory? Learn it.

Several Kneser-Ney models look at the same history, each in its own way: the last 3, 5 or 8 characters, the word so far
and the words before it, the place in the line. Each is an expert that gives a whole distribution. They are
multiplied, each raised to a learned power, and normalized:

    p(w | h) = exp(sum_k lambda_k(h) log p_k(w | h)) / Z(h)

The powers depend on the context: they are a base and a correction for each gate, looked up by the previous token, by
the place in the line, and by how far the longest memory matched and how often it had been there. They start at 1/K
and always sum to 1. The gradient of the loss for one power is, as for softmax, what came less what was expected:

    d(-log p(w)) / d lambda_k = -(log p_k(w) - sum_v p(v) log p_k(v))

REQ: the powers are learned on a tenth of the training text that the experts had not counted then.
WHY: an expert is always right about text it has counted, so it would be trusted blindly.

Source: Hinton (2002), "Training products of experts by minimizing contrastive divergence", for products; Klakow (1998),
"Log-linear interpolation of language models", for language models; Mahoney (2005), "Adaptive weighing of context
models for lossless data compression", for weights chosen by context.

It knows no files and no command line.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from operator import mul
from typing import Any, ClassVar, Final, NamedTuple

from toy_gpt_train.c_model import Prediction, check_context
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, argmax, softmax
from toy_gpt_train.models.kneser_ney import Discounts, KneserNeyModel, Seen
from toy_gpt_train.models.tables import COUNT, NUMBER, TEXT, TOKEN, Column, ModelTable
from toy_gpt_train.models.views import LAGS, LONGEST_LAG, LOOK_BACK, TEXT_VIEWS, Views

DISCOUNTS_NAME: Final = "03_discounts.csv"
WEIGHTS_NAME: Final = "04_mixing_weights.csv"

SLICE: Final = 0.1  # of the training text, at its end, for the mixing weights
SHORTEST_TEXT: Final = LONGEST_LAG + 2
LARGEST_POWER: Final = 1000.0  # in a file that is read; learned ones stay near 1
_CACHED_NUMBERS: Final = 2_000_000

Powers = list[float]


@dataclass(frozen=True)
class Recipe:
    """Which experts there are, and what chooses their powers.

    Attributes:
        chains: For each expert its views, the most important first; backing off drops the last.
        gates: What a correction is looked up by: ``previous``, ``column``, ``matched``.
    """

    chains: tuple[tuple[str, ...], ...]
    gates: tuple[str, ...]


# OBS: chosen by the loss on a slice of the training part of Tiny Shakespeare, not of its validation part. There the
# views of words and lines gained most, then the gate of the previous token; the gate of the match gained little.
CHARACTERS: Final = Recipe(
    chains=(
        LAGS[:3],
        LAGS[:5],
        LAGS[:8],
        ("lag_1", "prefix", "lag_2", "word_1", "word_2"),
        ("lag_1", "lag_2", "lag_3", "prefix", "column"),
    ),
    gates=("previous", "column", "matched"),
)
OTHER_TOKENS: Final = Recipe(chains=(LAGS[:1], LAGS[:3]), gates=("matched",))


class Look(NamedTuple):
    """What the experts say at one place of a text.

    Attributes:
        logs: log p_k(w) as K lists of V.
        gates: The value of each gate.
        matched: How many lengths of the longest memory were met, the empty one included.
    """

    logs: list[list[float]]
    gates: list[int]
    matched: int


def mix(logs: Sequence[Sequence[float]], vectors: Iterable[Powers]) -> list[float]:
    """Multiply the experts, each raised to its power, and normalize.

    Args:
        logs: log p_k(w) as K lists of V.
        vectors: The base and corrections; their sum are the K powers.

    Returns:
        V probabilities; they sum to 1.

    Example:
        >>> [round(p, 4) for p in mix([[log(0.5), log(0.5)], [log(0.9), log(0.1)]], [[0.5, 0.5]])]
        [0.75, 0.25]
    """
    scores = [0.0] * len(logs[0])
    for power, row in zip(map(sum, zip(*vectors, strict=True)), logs, strict=True):
        scores = [score + power * x for score, x in zip(scores, row, strict=True)]
    return softmax(scores)


class MixtureModel:
    """A learned log-linear mixture of Kneser-Ney models over different views of the history.

    Args:
        vocab_size: V.
        context_size: How many tokens the views look back, 64.

    Attributes:
        experts: One Kneser-Ney model for each chain of the recipe.
        base: The powers that hold everywhere.
        corrections: For each gate, what is added to them, by the gate's value.

    Raises:
        ValueError: ``context_size`` is not 64, or ``vocab_size`` makes no sense.
    """

    train_loss_on: ClassVar[str] = "the last tenth of the training text"
    learning_rate: ClassVar[float] = 0.003  # falls linearly to 0

    def __init__(self, vocab_size: int, context_size: int = LOOK_BACK) -> None:
        if context_size != LOOK_BACK:
            raise ValueError(f"the views look back {LOOK_BACK} tokens, not {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size
        self._prepare([""] * vocab_size)

    def _prepare(self, tokens: Sequence[str]) -> None:
        """Set up views and untrained experts for a vocabulary."""
        self._views = Views(tokens)
        self.recipe = CHARACTERS if self._views.are_characters else OTHER_TOKENS
        self.experts = [KneserNeyModel(self.vocab_size, len(chain)) for chain in self.recipe.chains]
        self.base: Powers = [1 / len(self.experts)] * len(self.experts)
        self.corrections: list[dict[int, Powers]] = [{} for _ in self.recipe.gates]
        self._begin: list[dict[str, list[float]]] = [{} for _ in self.experts]
        memories = [len(chain) if set(chain) <= set(LAGS) else 0 for chain in self.recipe.chains]
        self._longest = memories.index(max(memories))  # the expert with the longest memory of plain tokens

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs: none, for every expert backs off."""
        return 0

    # --- learning ------------------------------------------------------------------------------------------

    def fit(
        self,
        token_ids: Sequence[int],
        tokens: Sequence[str],
        *,
        seed: int = 0,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> dict[str, float]:
        """Count most of the text, learn the powers on the rest, then count all of it.

        Cost: K distributions over V tokens for each token of the last tenth; the counting is quick beside it.

        Args:
            token_ids: The text as T token ids.
            tokens: The vocabulary's tokens, by id.
            seed: For the order in which the last tenth is visited.
            on_progress: Called with the fraction done and a few words.

        Returns:
            ``avg_loss`` and ``accuracy`` on the last tenth while learning, each token's taken before its update,
            and the ``loss_floor`` of the longest memory on the whole text.

        Raises:
            ValueError: The text is too short.
        """
        if len(token_ids) < SHORTEST_TEXT:
            raise ValueError(f"{len(token_ids)} tokens are too few: a mixture needs {SHORTEST_TEXT}")
        cut = len(token_ids) - max(int(len(token_ids) * SLICE), 1)
        self._prepare(tokens)
        columns = self._views.columns(token_ids)
        self._count(columns, token_ids[:cut])
        learned = self._learn_powers(columns, token_ids, cut, seed, on_progress)
        self._count(columns, token_ids)
        return {**learned, "loss_floor": self.experts[self._longest].loss_floor()}

    def _count(self, columns: Mapping[str, str], token_ids: Sequence[int]) -> None:
        """Let every expert count a text, from the first place where all its views lie within the text."""
        self._begin = [{} for _ in self.experts]
        end = len(token_ids)
        for expert, chain in zip(self.experts, self.recipe.chains, strict=True):
            expert.orders.clear()  # WHY first: the old counts need not lie in memory beside the new ones
            start = max(LAGS.index(name) + 1 if name in LAGS else 0 for name in chain)
            views = [columns[name][start:end] for name in reversed(chain)]
            text = map(chr, token_ids[start:])
            expert.fit_grams(Counter(map("".join, zip(*views, text, strict=True))))

    def _learn_powers(
        self,
        columns: Mapping[str, str],
        token_ids: Sequence[int],
        start: int,
        seed: int,
        on_progress: Callable[[float, str], None] | None,
    ) -> dict[str, float]:
        """Take one step of gradient descent for each token from ``start`` on, in random order."""
        places = list(range(start, len(token_ids)))
        random.Random(seed).shuffle(places)
        loss = 0.0
        correct = 0
        for step, place in enumerate(places):
            look = self._look(columns, place)
            for by_value, value in zip(self.corrections, look.gates, strict=True):
                by_value.setdefault(value, [0.0] * len(self.experts))
            vectors = self._vectors(look.gates)
            probs = mix(look.logs, vectors)
            target = token_ids[place]
            loss -= log(max(probs[target], SMALLEST_PROBABILITY))
            correct += argmax(probs) == target
            rate = self.learning_rate * (1 - step / len(places))
            slopes = [row[target] - sum(map(mul, probs, row)) for row in look.logs]
            mean = sum(slopes) / len(slopes)  # taken off, so that the powers still sum to 1
            for vector in vectors:
                for k, slope in enumerate(slopes):
                    vector[k] += rate * (slope - mean)
            if on_progress is not None and step % 100 == 0:
                on_progress(step / len(places), f"learning whom to trust, loss {loss / (step + 1):.4f}")
        return {"avg_loss": loss / len(places), "accuracy": correct / len(places)}

    # --- predicting ----------------------------------------------------------------------------------------

    def _look(self, columns: Mapping[str, str], place: int) -> Look:
        """Ask every expert about a place, and find the vectors that its powers are the sum of."""
        logs: list[list[float]] = []
        longest: Sequence[Seen] = ()
        for k, (expert, chain) in enumerate(zip(self.experts, self.recipe.chains, strict=True)):
            history = "".join([columns[name][place] for name in reversed(chain)])
            met = expert.matched(history)
            logs.append(self._log_distribution(k, history, met))
            if k == self._longest:
                longest = met
        gates = {
            "previous": ord(columns["lag_1"][place]),
            "column": ord(columns["column"][place]) if "column" in columns else 0,
            # How far the longest memory matched, and how often it had been there, in powers of two.
            "matched": 10 * (len(longest) - 1) + min(sum(longest[-1].counts.values()).bit_length(), 9),
        }
        return Look(logs, [gates[gate] for gate in self.recipe.gates], len(longest))

    def _vectors(self, gates: Sequence[int]) -> list[Powers]:
        """Return the base and a correction for each gate; their sum are the powers. New corrections are zero."""
        found = (by_value.get(gate) for by_value, gate in zip(self.corrections, gates, strict=True))
        return [self.base, *(vector for vector in found if vector is not None)]

    def _log_distribution(self, k: int, history: str, met: Sequence[Seen]) -> list[float]:
        """Return log p_k for all tokens. The shortest two lengths, with most followers, are worked out once."""
        begin = self._begin[k]
        probs = begin.get(history[-1:])
        if probs is None:
            probs = _interpolate(met[:2], [1 / self.vocab_size] * self.vocab_size)
            if len(begin) * self.vocab_size < _CACHED_NUMBERS:
                begin[history[-1:]] = probs
        return list(map(log, _interpolate(met[2:], probs)))

    def forward(self, *context_ids: int) -> list[float]:
        """Return the probability of every token to come next.

        Args:
            *context_ids: Up to N token ids, oldest first.

        Returns:
            V probabilities, by token id; they sum to 1.

        Raises:
            ValueError: There are more than N ids, or one is outside 0..V-1.

        Example:
            >>> MixtureModel(vocab_size=2).forward(0, 1)
            [0.5, 0.5]
        """
        check_context(context_ids, self)
        look = self._look(self._views.columns(context_ids), len(context_ids))
        return mix(look.logs, self._vectors(look.gates))

    def predictions(self, token_ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: how likely was each token, given the tokens before it?

        Cost: K distributions over V tokens for each.

        Args:
            token_ids: The text as T token ids.
            start: The place of the first token to score; those before it are context only.

        Yields:
            A prediction for each of the T - start tokens. ``context_seen`` is said of the longest memory.
        """
        columns = self._views.columns(token_ids)
        longest = len(self.recipe.chains[self._longest]) + 1
        for place in range(start, len(token_ids)):
            look = self._look(columns, place)
            probs = mix(look.logs, self._vectors(look.gates))
            target = token_ids[place]
            probability = probs[target] if target < self.vocab_size else 0.0
            yield Prediction(probability, argmax(probs), look.matched == longest)

    def num_parameters(self) -> int:
        """Return how many numbers training has set: all the experts' counts and discounts, and the powers."""
        vectors = 1 + sum(map(len, self.corrections))
        return sum(expert.num_parameters() for expert in self.experts) + vectors * len(self.experts)

    # --- the model as tables -------------------------------------------------------------------------------

    def _columns(self) -> dict[str, tuple[Column, ...]]:
        powers = (Column(f"expert_{k}", NUMBER) for k in range(1, len(self.experts) + 1))
        return {
            **{_counts_name(k): _counts_columns(chain) for k, chain in enumerate(self.recipe.chains)},
            DISCOUNTS_NAME: _DISCOUNTS_COLUMNS,
            WEIGHTS_NAME: (Column("gate", TEXT), Column("value", COUNT), *powers),
        }

    def expect_tables(self, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Get ready to be read; return the columns of each table that from_tables needs, by file name."""
        self._prepare(tokens)
        return self._columns()

    def to_tables(self) -> list[ModelTable]:
        """Return the counts of every expert, the discounts, and the powers."""
        rows: dict[str, tuple[int, Iterable[tuple[Any, ...]]]] = {}
        for k, expert in enumerate(self.experts):
            size = sum(len(seen.counts) for seen in expert.orders[-1].contexts.values())
            rows[_counts_name(k)] = size, self._count_rows(expert, self.recipe.chains[k])
        discounts = [
            (k, length, *order.discounts)
            for k, expert in enumerate(self.experts, start=1)
            for length, order in enumerate(expert.orders)
        ]
        powers: list[tuple[Any, ...]] = [("base", 0, *self.base)]
        for gate, by_value in zip(self.recipe.gates, self.corrections, strict=True):
            powers += [(gate, value, *vector) for value, vector in sorted(by_value.items())]
        rows[DISCOUNTS_NAME] = len(discounts), discounts
        rows[WEIGHTS_NAME] = len(powers), powers
        return [ModelTable(name, columns, *rows[name]) for name, columns in self._columns().items()]

    def _count_rows(self, expert: KneserNeyModel, chain: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield an expert's longest grams: the views of the context, the token, and how often they met."""
        texts = self._views.text_of_code()
        read = [texts.__getitem__ if name in TEXT_VIEWS else ord for name in reversed(chain)]
        for context, seen in expert.orders[-1].contexts.items():
            values = [value(code) for value, code in zip(read, context, strict=True)]
            for token_id, count in seen.counts.items():
                yield (*values, token_id, count)

    def from_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that to_tables described; expect_tables has been called.

        Args:
            tables: The rows of each table, by file name.

        Raises:
            ValueError: The tables do not fit together.
        """
        discounts: dict[tuple[int, int], Discounts] = {}
        grams = [self._read_grams(k, tables[_counts_name(k)]) for k in range(len(self.experts))]
        for k, length, once, twice, more in tables[DISCOUNTS_NAME]:
            if not (0 < once <= 1 and 0 < twice <= 2 and 0 < more <= 3):
                raise ValueError(f"{DISCOUNTS_NAME}: a discount takes nothing, or more than was counted")
            discounts[k - 1, length] = once, twice, more
        wanted = [[(k, length) for length in range(len(chain) + 1)] for k, chain in enumerate(self.recipe.chains)]
        if set(discounts) != {key for keys in wanted for key in keys}:
            raise ValueError(f"{DISCOUNTS_NAME}: not a row for each expert and length")
        for expert, counted, keys in zip(self.experts, grams, wanted, strict=True):
            expert.fit_grams(counted, [discounts[key] for key in keys])
        self._read_powers(tables[WEIGHTS_NAME])

    def _read_grams(self, k: int, rows: Iterable[tuple[Any, ...]]) -> dict[str, int]:
        chain = self.recipe.chains[k]
        write = [self._views.code if name in TEXT_VIEWS else _code_point for name in reversed(chain)]
        grams: dict[str, int] = {}
        for *values, token_id, count in rows:
            gram = "".join(code(value) for code, value in zip(write, values, strict=True)) + chr(token_id)
            if gram in grams or count < 1:
                raise ValueError(f"{_counts_name(k)}: a count below 1, or a context and token that stand there twice")
            grams[gram] = count
        if not grams:
            raise ValueError(f"{_counts_name(k)}: there is nothing in it")
        return grams

    def _read_powers(self, rows: Iterable[tuple[Any, ...]]) -> None:
        by_gate = dict(zip(self.recipe.gates, self.corrections, strict=True))
        for number, (gate, value, *vector) in enumerate(rows):
            if max(map(abs, vector)) > LARGEST_POWER:
                raise ValueError(f"{WEIGHTS_NAME}: a power out of all proportion: {max(vector, key=abs)}")
            if number == 0 and gate == "base":
                self.base = vector
            elif gate in by_gate and value not in by_gate[gate]:
                by_gate[gate][value] = vector
            else:
                raise ValueError(f"{WEIGHTS_NAME}: the gate {gate[:20]!r} is unknown, out of place or there twice")


_DISCOUNTS_COLUMNS: Final = (
    Column("expert", COUNT),
    Column("context_size", COUNT),
    Column("once", NUMBER),
    Column("twice", NUMBER),
    Column("three_or_more", NUMBER),
)


def _counts_name(k: int) -> str:
    return f"02_counts_{k + 1}.csv"


def _counts_columns(chain: Sequence[str]) -> tuple[Column, ...]:
    views = [Column(name, TOKEN if name in LAGS else TEXT if name in TEXT_VIEWS else COUNT) for name in reversed(chain)]
    return (*views, Column("token", TOKEN), Column("count", COUNT))


def _code_point(value: int) -> str:
    try:
        return chr(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value} is no value of a view") from None


def _interpolate(met: Iterable[Seen], probs: list[float]) -> list[float]:
    """Add length after length to a distribution, as KneserNeyModel.interpolate does for one token."""
    for seen in met:
        gamma = seen.gamma
        probs = [gamma * p for p in probs]
        for token_id, share in seen.shares.items():
            probs[token_id] += share
    return probs
