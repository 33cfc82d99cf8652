r"""context_mixing.py - Model 470: many small opinions, weighed anew after every bit.

The next token is a few yes-or-no decisions (token_code.py). What was read before says how likely a 1 is at each of them
(memory.py), in many ways. A mixer adds what is said, each weighed (mixer.py).

Everything learns from each bit right after predicting it: one pass, and every loss is that of a text not seen before.
After training the model is frozen, like all others; learner() gives a copy that keeps learning while it reads.

REQ: a frozen model looks at the last 64 tokens, and at the text it was trained on, where it looks up repeats.

Sources: Cleary and Witten (1984), "Data compression using adaptive coding and partial string matching", for contexts of
several lengths, and Witten, Neal and Cleary (1987), "Arithmetic coding for data compression", for a model that learns
as it codes; Mahoney (2005), "Adaptive weighing of context models for lossless data compression", for the rest.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from math import log
from operator import mul
from typing import Any, ClassVar, Final, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, add_up
from toy_gpt_train.models.base import TENSORS_NAME, Column, Content, Model, OnStart, Record, Text
from toy_gpt_train.models.memory import Memory, Place
from toy_gpt_train.models.mixer import Mixed, Mixer
from toy_gpt_train.models.ngram_trie import MOST_TENSOR_BYTES
from toy_gpt_train.models.scores import Prediction, longest_context_floor, summarize
from toy_gpt_train.models.token_code import token_code
from toy_gpt_train.models.views import LOOK_BACK
from toy_gpt_train.nn.modules import LensStep
from toy_gpt_train.progress import OnProgress

_RATES: Final = (0.02, 0.003)  # of the mixer: the first, which falls with 1 / tokens, and the lowest
_SLOWER: Final = 10_000  # tokens, after which the first rate is halved
_CORRECTION_RATE: Final = 0.02
_LAST_RATES: Final = (0.001, _CORRECTION_RATE)  # of the mixer and its corrections: in the last eighth they fall to 0
# WHY: whom to trust changes slowly. OBS: on Tiny Shakespeare, the loss is higher by 0.002.
_ALL_PREDICTED: Final = 200_000  # tokens; of what follows, two of three blocks are only counted
_BLOCK: Final = 4000
_REPORT_EVERY: Final = 1000

Votes = Mapping[int, Mixed]  # what was said at each node
Learn = Callable[[Place, Votes, int], None]  # from what was predicted before a token, and the token


class ContextMixing(Model):
    """Counters of several contexts, mixed bit by bit."""

    layouts: ClassVar[tuple[str, ...]] = ("safetensors",)
    default_context: ClassVar[int] = LOOK_BACK
    learning_rate: ClassVar[float] = _RATES[0]
    steps_are_votes: ClassVar[bool] = True
    learns_online: ClassVar[bool] = True
    train_loss_on: ClassVar[str] = "the last eighth of the training text"

    def __init__(self, vocab_size: int, context_size: int = LOOK_BACK) -> None:
        super().__init__(vocab_size, context_size)
        if context_size != LOOK_BACK:
            raise InputError(f"the contexts look back {LOOK_BACK} tokens, not {context_size}")
        self._learns = False
        self._prepare([""] * vocab_size, [0] * vocab_size)

    def _prepare(self, tokens: Sequence[str], frequencies: Sequence[int]) -> None:
        """Be ready to learn a text with these frequencies of the tokens."""
        self._tokens = tokens
        self.code = token_code(frequencies, tokens)
        self.memory = Memory(tokens, frequencies, self.code)
        self.mixer = Mixer(self.memory.input_names(), sum(frequencies))

    # --- one decision --------------------------------------------------------------------------------------

    def _vote(self, place: Place, node: int) -> Mixed:
        """Predict the bit at a node."""
        inputs, kind = self.memory.opinion(place, node)
        return self.mixer.mix(inputs, node, place.last, kind)

    def _learn(self, place: Place, votes: Votes, token_id: int) -> None:
        """Learn the decisions of a token, which were predicted, and read it."""
        rate = max(_RATES[0] / (1 + len(self.memory.repeats.text) / _SLOWER), _RATES[1])
        self._weigh(place, votes, token_id, (rate, _CORRECTION_RATE))
        self.memory.append(place, token_id)

    def _weigh(self, place: Place, votes: Votes, token_id: int, rates: tuple[float, float]) -> None:
        """Learn whom to trust: the weights, the corrections, and how often each was right."""
        for node, bit in self.memory.bits[token_id].items():
            self.mixer.learn(votes[node], bit, *rates)
            self.memory.judge(place, node, bit)

    def _read(self, ids: Sequence[int], start: int, learn: Learn | None, ranked_from: int = 0) -> Iterator[Prediction]:
        """Predict each token from ``start`` on, and let ``learn`` see what came.

        The most likely token is looked for from ``ranked_from`` on.
        """
        for position, place in enumerate(islice(self.memory.places(ids, start), len(ids) - start), start):
            token_id = ids[position]
            decisions = self.memory.bits[token_id]
            votes = {node: self._vote(place, node) for node in decisions}
            p = 1.0 if token_id < self.vocab_size else 0.0
            for node, bit in decisions.items():
                p *= votes[node].p if bit else 1 - votes[node].p
            best = token_id if p > 0.5 else self._most_likely(place, votes) if position >= ranked_from else -1
            if learn is not None:
                learn(place, votes, token_id)
            yield Prediction(p, best, None)

    def _most_likely(self, place: Place, votes: Votes) -> int:
        return self.code.most_likely(lambda node: (votes.get(node) or self._vote(place, node)).p)

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
        """Read the text once and learn each token right after predicting it; the last eighth in two steps.

        First only whom to trust is learned from it, then only what it says. Its one record has ``avg_loss`` and
        ``accuracy`` there, before anything of it was counted. Of what a long text has before it, two thirds are counted
        without being predicted. Cost: O(decisions K) per token, whatever V is.
        """
        ids = self.training_ids(text)
        if on_start is not None:
            on_start()
        counted = Counter(ids)
        self._prepare(text.tokens or [""] * self.vocab_size, [counted[i] for i in range(self.vocab_size)])
        last = max(len(ids) // 8, 1)
        cut = len(ids) - last

        def watched(predictions: Iterator[Prediction], start: int) -> Iterator[Prediction]:
            for position, prediction in enumerate(predictions, start):
                if on_progress is not None and position % _REPORT_EVERY == 0:
                    on_progress(position / len(ids), "reading")
                yield prediction

        for begin in range(0, cut, _BLOCK):
            first = max(begin - LOOK_BACK, 0)
            seen = ids[first : min(begin + _BLOCK, cut)]
            if begin >= _ALL_PREDICTED and begin // _BLOCK % 3:
                self._count(seen, begin - first)
            else:
                read_all(watched(self._read(seen, begin - first, self._learn, len(seen)), begin))
        # WHY: once the model is frozen, the text is new to its counters. So whom to trust is learned last from a text
        # that is new to them, too.
        shares = (1 - i / last for i in range(last))

        def weigh(place: Place, votes: Votes, token_id: int) -> None:
            share = next(shares)
            self._weigh(place, votes, token_id, (_LAST_RATES[0] * share, _LAST_RATES[1] * share))

        scores = summarize(zip(watched(self._read(ids, cut, weigh), cut), ids[cut:], strict=True))
        self._count(ids, cut)
        yield {"epoch": 1, "avg_loss": scores.loss, "accuracy": scores.accuracy}

    def _count(self, ids: Sequence[int], start: int) -> None:
        """Learn what came from ``start`` on, without predicting it."""
        for place, token_id in zip(self.memory.places(ids, start), ids[start:], strict=False):
            self.memory.append(place, token_id)

    def loss_floor(self, train_ids: Sequence[int]) -> float:
        """Return the loss floor of a context of 64 tokens, or of the longest there is in a short text."""
        return longest_context_floor(train_ids, min(self.context_size, len(train_ids) - 1))

    def learner(self) -> Self:
        """Return a copy that learns while it reads."""
        twin = copy(self)
        twin.memory, twin.mixer = self.memory.copy(), self.mixer.copy()
        twin._learns = True
        return twin

    # --- predicting ----------------------------------------------------------------------------------------

    def new_cache(self) -> Any:
        """Return a memory of how much of a text a learner has learned."""
        return Learned() if self._learns else None

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities, from a prediction at every node of the code."""
        votes = self._all_votes(ids, cache)
        return self.code.leaves([vote.p for vote in votes])

    def _all_votes(self, ids: Sequence[int], cache: Any) -> list[Mixed]:
        if cache is not None:
            first = max(cache.length - LOOK_BACK, 0)
            read_all(self._read(ids[first:], cache.length - first, self._learn, len(ids)))
            cache.length = len(ids)
        context = self.context(ids)
        place = next(self.memory.places(context, len(context)))
        return [self._vote(place, node) for node in range(len(self.code.children))]

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: a few nodes per token, those on its way and those that may lead to a more likely one."""
        return self._read(ids, start, self._learn if self._learns else None)

    def logit_lens(self, ids: Sequence[int], cache: Any = None) -> list[LensStep]:
        """Return the votes: what each context adds to the log-odds of the decisions for a token, weights included.

        The last step is the model's prediction, log p.
        """
        votes = self._all_votes(ids, cache)
        weighed = [
            [add_up(map(mul, vote.second, weights)) * x for *weights, x in zip(*vote.weights, vote.inputs, strict=True)]
            for vote in votes
        ]
        inputs_of: dict[str, list[int]] = {}  # "last_1" has those named "last_1", "last_1 sure" and "last_1 run"
        for i, name in enumerate(self.memory.input_names()):
            inputs_of.setdefault(name.split()[0], []).append(i)
        steps = []
        for name, inputs in inputs_of.items():
            said = [add_up([one[i] for i in inputs]) for one in weighed]
            logits = [add_up([said[n] if bit else -said[n] for n, bit in path]) for path in self.code.paths]
            steps.append(LensStep(name, [], logits))
        probs = self.code.leaves([vote.p for vote in votes])
        return [*steps, LensStep("log p", [], [log(max(p, SMALLEST_PROBABILITY)) for p in probs])]

    # --- its content, for files ----------------------------------------------------------------------------

    def num_parameters(self) -> int:
        """Return the number of counters and runs, weights and corrections, and of the places of repeats."""
        return self.memory.num_numbers() + self.mixer.num_numbers()

    @property
    def most_tensor_bytes(self) -> int:
        """How large the file of tensors can be: any size, for the length of the text is read first."""
        return MOST_TENSOR_BYTES

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Set up the contexts for a vocabulary; return the columns of each table."""
        self._prepare(tokens, [0] * self.vocab_size)
        return self.mixer.columns() | self.memory.columns()

    def content(self) -> Content:
        """Return what was counted, the text and the corrections as tensors, the rest as tables."""
        tensors = {name: ((len(numbers),), numbers) for name, numbers in self._arrays().items()}
        return Content("safetensors", [*self.mixer.tables(), *self.memory.tables()], tensors)

    def _arrays(self) -> "dict[str, array[Any]]":
        return self.memory.arrays() | self.mixer.arrays()

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
        self.memory.load_arrays(arrays)
        self.mixer.load_arrays(arrays)

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described, after load_tensors()."""
        self.mixer.load_tables(tables)
        self.memory.load_tables(tables)

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield how often the text has each token."""
        counted = Counter(self.memory.repeats.text)
        yield TENSORS_NAME, [counted[i] for i in range(self.vocab_size)], 0


@dataclass
class Learned:
    """How much of a text a learner has learned."""

    length: int = 0


def read_all(predictions: Iterator[Prediction]) -> None:
    """Take all predictions and keep none: what is read is learned on the way."""
    deque(predictions, maxlen=0)
