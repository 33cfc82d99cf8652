r"""context_mixing.py - Model 470: many small opinions, weighed anew after every bit.

The next token is a few yes-or-no decisions (token_code.py). At each of them, counters of several contexts say how
likely a 1 is (counters.py), and so does what followed the last time the text was the same (repeats.py). A mixer adds
what they say, each weighed (mixer.py).

Everything learns from each bit right after predicting it: one pass, and every loss is that of a text not seen before.
After training the model is frozen, like all others; learner() gives a copy that keeps learning while it reads.

REQ: a frozen model looks at the last 64 tokens, and at the text it was trained on, where it looks up repeats.

Sources: Cleary and Witten (1984), "Data compression using adaptive coding and partial string matching", for contexts of
several lengths, and Witten, Neal and Cleary (1987), "Arithmetic coding for data compression", for a model that learns
as it codes; Mahoney (2005), "Adaptive weighing of context models for lossless data compression", for the rest.
"""

from array import array
from bisect import bisect
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from math import log
from typing import Any, ClassVar, Final, NamedTuple, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, add_up
from toy_gpt_train.models.base import TENSORS_NAME, Column, Content, Model, OnStart, Record, Text
from toy_gpt_train.models.contexts import Contexts
from toy_gpt_train.models.counters import Counters
from toy_gpt_train.models.mixer import Mixed, Mixer
from toy_gpt_train.models.ngram_trie import MOST_TENSOR_BYTES
from toy_gpt_train.models.repeats import LONGEST, REPEATS_COLUMNS, REPEATS_NAME, Repeats
from toy_gpt_train.models.scores import Prediction, longest_context_floor, summarize
from toy_gpt_train.models.token_code import token_code
from toy_gpt_train.models.views import LAGS, LOOK_BACK
from toy_gpt_train.nn.modules import LensStep
from toy_gpt_train.progress import OnProgress

_RATES: Final = (0.02, 0.002)  # of the mixer: the first, which falls with 1 / tokens, and the lowest
_SLOWER: Final = 10_000  # tokens, after which the first rate is halved
_BIAS: Final = 0.3
_SURER: Final = (0, 12, 20)  # lengths of a repeat, from which on it has other weights
_REPORT_EVERY: Final = 1000


class Place(NamedTuple):
    """What is known before a token."""

    numbers: tuple[int, ...]  # of the K contexts
    tags: list[int]
    repeat: int  # the number by which a repeat is found
    previous: int  # the last token, V + 1 at the beginning
    expected: Mapping[int, int]  # the bit at each node on the way to the token that a repeat tells
    length: int  # of the repeat


class Vote(NamedTuple):
    """What was said at one node."""

    slots: list[int]  # of the counters
    mixed: Mixed


class ContextMixing(Model):
    """Counters of several contexts, mixed bit by bit."""

    layouts: ClassVar[tuple[str, ...]] = ("safetensors",)
    default_context: ClassVar[int] = LOOK_BACK
    learning_rate: ClassVar[float] = _RATES[0]
    steps_are_votes: ClassVar[bool] = True
    learns_online: ClassVar[bool] = True
    train_loss_on: ClassVar[str] = "the last tenth of the training text"

    def __init__(self, vocab_size: int, context_size: int = LOOK_BACK) -> None:
        super().__init__(vocab_size, context_size)
        if context_size != LOOK_BACK:
            raise InputError(f"the contexts look back {LOOK_BACK} tokens, not {context_size}")
        self._learns = False
        self._prepare([""] * vocab_size, [0] * vocab_size)

    def _prepare(self, tokens: Sequence[str], frequencies: Sequence[int]) -> None:
        """Be ready to learn a text with these frequencies of the tokens."""
        self._tokens = tokens
        self.contexts = Contexts(tokens)
        self.code = token_code(frequencies, tokens)
        self._decisions = [*map(dict, self.code.paths), {}]  # the bit at each node of a path; none of an unknown token
        decisions = sum(count * len(path) for count, path in zip(frequencies, self.code.paths, strict=True))
        self.counters = Counters(Counters.slots_for(decisions * len(self.contexts.views)))
        self.repeats = Repeats(self.vocab_size, sum(frequencies))
        self.mixer = Mixer(self._input_names())

    def _input_names(self) -> list[str]:
        names = [f"last_{len(v)}" if v == LAGS[: len(v)] else "+".join(v) for v in self.contexts.views]
        return [name + more for name in (*names, "repeat") for more in ("", " sure")] + ["bias"]

    # --- one decision --------------------------------------------------------------------------------------

    def _places(self, ids: Sequence[int], start: int) -> Iterator[Place]:
        """Yield what is known before each token from ``start`` on, and after the last."""
        for position, (*numbers, repeat) in enumerate(self.contexts.rows(ids, start), start):
            token_id, length = self.repeats.find(repeat, ids, position)
            expected = self._decisions[token_id] if length else {}
            previous = ids[position - 1] if position else self.vocab_size + 1
            yield Place(tuple(numbers), Counters.tags_of(numbers), repeat, previous, expected, length)

    def _vote(self, place: Place, node: int) -> Vote:
        """Predict the bit at a node."""
        slots, inputs, met = self.counters.read(place.numbers, place.tags, node)
        bit = place.expected.get(node)
        inputs += (0.0, 0.0) if bit is None else self.repeats.inputs(place.length, bit)
        inputs.append(_BIAS)
        sure = 0 if bit is None else bisect(_SURER, place.length)
        return Vote(slots, self.mixer.mix(inputs, node, place.previous, met * (len(_SURER) + 1) + sure))

    def _learn(self, place: Place, votes: Mapping[int, Vote], token_id: int) -> None:
        """Learn the decisions of a token, which were predicted, and read it."""
        rate = max(_RATES[0] / (1 + len(self.repeats.text) / _SLOWER), _RATES[1])
        for node, bit in self._decisions[token_id].items():
            vote = votes[node]
            self.mixer.learn(vote.mixed, bit, rate)
            if (expected := place.expected.get(node)) is not None:
                self.repeats.count(place.length, expected == bit)
            self.counters.learn(vote.slots, place.tags, bit)
        self.repeats.append(place.repeat, token_id)

    def _read(self, ids: Sequence[int], start: int, ranked_from: int = 0) -> Iterator[Prediction]:
        """Predict each token from ``start`` on, and learn it if this is a learner.

        The most likely token is looked for from ``ranked_from`` on.
        """
        for position, place in enumerate(islice(self._places(ids, start), len(ids) - start), start):
            token_id = ids[position]
            decisions = self._decisions[token_id]
            votes = {node: self._vote(place, node) for node in decisions}
            p = 1.0 if token_id < self.vocab_size else 0.0
            for node, bit in decisions.items():
                p *= votes[node].mixed.p if bit else 1 - votes[node].mixed.p
            best = self._most_likely(place, votes) if position >= ranked_from else -1
            if self._learns:
                self._learn(place, votes, token_id)
            yield Prediction(p, best, None)

    def _most_likely(self, place: Place, votes: Mapping[int, Vote]) -> int:
        return self.code.most_likely(lambda node: (votes.get(node) or self._vote(place, node)).mixed.p)

    # --- learning ------------------------------------------------------------------------------------------

    @classmethod
    def min_tokens(cls, context: int) -> int:
        """Return 1: the first token is measured, then learned."""
        return 1

    def fit(
        self,
        text: Text,
        settings: Any = None,
        *,
        on_start: OnStart | None = None,
        on_progress: OnProgress | None = None,
        **_: Any,
    ) -> Iterator[Record]:
        """Read the text once and learn each token right after predicting it.

        Its one record has ``avg_loss`` and ``accuracy`` on the last tenth, each token's taken before it was learned.
        Cost: O(decisions K) per token, whatever V is.
        """
        ids = self.training_ids(text)
        if on_start is not None:
            on_start()
        counted = Counter(ids)
        self._prepare(text.tokens or [""] * self.vocab_size, [counted[i] for i in range(self.vocab_size)])
        measured_from = len(ids) - max(len(ids) // 10, 1)

        def watched() -> Iterator[tuple[Prediction, int]]:
            for position, (prediction, token_id) in enumerate(zip(self._read(ids, 0, measured_from), ids, strict=True)):
                if on_progress is not None and position % _REPORT_EVERY == 0:
                    on_progress(position / len(ids), "reading")
                if position >= measured_from:
                    yield prediction, token_id

        self._learns = True
        scores = summarize(watched())
        self._learns = False
        yield {"epoch": 1, "avg_loss": scores.loss, "accuracy": scores.accuracy}

    def loss_floor(self, train_ids: Sequence[int]) -> float:
        """Return the loss floor of a context of 64 tokens, or of the longest there is in a short text."""
        return longest_context_floor(train_ids, min(self.context_size, len(train_ids) - 1))

    def learner(self) -> Self:
        """Return a copy that learns while it reads."""
        twin = copy(self)
        twin.counters, twin.repeats = self.counters.copy(), self.repeats.copy()
        twin.mixer = self.mixer.copy()
        twin._learns = True
        return twin

    # --- predicting ----------------------------------------------------------------------------------------

    def new_cache(self) -> Any:
        """Return a memory of how much of a text a learner has learned."""
        return Learned() if self._learns else None

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities, from a prediction at every node of the code."""
        votes = self._all_votes(ids, cache)
        return self.code.leaves([vote.mixed.p for vote in votes])

    def _all_votes(self, ids: Sequence[int], cache: Any) -> list[Vote]:
        if cache is not None:
            first = max(cache.length - LOOK_BACK, 0)
            deque(self._read(ids[first:], cache.length - first, len(ids)), maxlen=0)
            cache.length = len(ids)
        context = self.context(ids)
        place = next(self._places(context, len(context)))
        return [self._vote(place, node) for node in range(len(self.code.children))]

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: a few nodes per token, those on its way and those that may lead to a more likely one."""
        return self._read(ids, start)

    def logit_lens(self, ids: Sequence[int], cache: Any = None) -> list[LensStep]:
        """Return the votes: what each context adds to the log-odds of the decisions for a token, weights included.

        The last step is the model's prediction, log p.
        """
        votes = self._all_votes(ids, cache)
        weighed = [
            [add_up(w) / len(w) * x for *w, x in zip(*vote.mixed.weights, vote.mixed.inputs, strict=True)]
            for vote in votes
        ]
        steps = []
        for k, name in enumerate(self._input_names()[::2]):
            said = [add_up(one[2 * k : 2 * k + 2]) for one in weighed]
            logits = [add_up([said[n] if bit else -said[n] for n, bit in path]) for path in self.code.paths]
            steps.append(LensStep(name, [], logits))
        probs = self.code.leaves([vote.mixed.p for vote in votes])
        return [*steps, LensStep("log p", [], [log(max(p, SMALLEST_PROBABILITY)) for p in probs])]

    # --- its content, for files ----------------------------------------------------------------------------

    def num_parameters(self) -> int:
        """Return the number of counters, weights and corrections, and of the places of repeats."""
        return self.counters.num_used() + self.mixer.num_numbers() + len(self.repeats.text) + LONGEST + 1

    @property
    def most_tensor_bytes(self) -> int:
        """How large the file of tensors can be: any size, for the length of the text is read first."""
        return MOST_TENSOR_BYTES

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Set up the contexts for a vocabulary; return the columns of each table."""
        self._prepare(tokens, [0] * self.vocab_size)
        return self._columns()

    def _columns(self) -> dict[str, tuple[Column, ...]]:
        return self.mixer.columns() | {REPEATS_NAME: REPEATS_COLUMNS}

    def content(self) -> Content:
        """Return the counters and the text as tensors, weights and corrections as tables."""
        tensors = {name: ((len(numbers),), numbers) for name, numbers in self._arrays().items()}
        return Content("safetensors", [*self.mixer.tables(), self.repeats.table()], tensors)

    def _arrays(self) -> "dict[str, array[int]]":
        return self.repeats.arrays() | self.counters.arrays()

    def load_tensors(self, tensors: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Become the part of the model that is in tensors: the text first, for the sizes follow from it."""
        if tensors.keys() != self._arrays().keys():
            raise ValueError(f"the tensors are not {', '.join(self._arrays())}")
        counted = Counter(tensors["text"][1][:])
        if not all(type(i) is int and i < self.vocab_size for i in counted):
            raise ValueError(f"the text has other ids than 0 to {self.vocab_size - 1}")
        self._prepare(self._tokens, [counted[i] for i in range(self.vocab_size)])
        for name, ours in self._arrays().items():
            shape, numbers = tensors[name]
            if numbers.typecode != ours.typecode or (name != "text" and shape != (len(ours),)):
                raise ValueError(f"tensor {name}: not {len(ours)} numbers of the type {ours.typecode}")
        arrays = {name: numbers[:] for name, (_, numbers) in tensors.items()}
        self.repeats.load_arrays(arrays)
        self.counters.load_arrays(arrays)

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described, after load_tensors()."""
        self.mixer.load(tables)
        self.repeats.load_table(tables[REPEATS_NAME])

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield how often the text has each token."""
        counted = Counter(self.repeats.text)
        yield TENSORS_NAME, [counted[i] for i in range(self.vocab_size)], 0


@dataclass
class Learned:
    """How much of a text a learner has learned."""

    length: int = 0
