"""base.py - The one interface of all models.

A language model is a function from the tokens so far to a probability for every possible next token. Everything above
models/ uses this interface only and never asks for a model's class. A new model is one file with a subclass of Model,
and one line in registry.py.

A model knows ids and numbers, but no files: it describes its content as tables, which artifacts/ writes and reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from numbers import Integral, Real
from typing import Any, ClassVar, Final, NamedTuple, Self

from toy_gpt_train.engine import Choice
from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, argmax, softmax
from toy_gpt_train.models.scores import Prediction, longest_context_floor
from toy_gpt_train.progress import OnProgress

Record = dict[str, float]  # one line of the training log
OnStart = Callable[[], None]
# For each length from 1 on, how many n-grams there are, and for each its token ids, log10 of its probability, and log10
# of its weight as a context.
NGrams = Sequence[tuple[int, Iterable[tuple[Any, ...]]]]

# WHY: counting models keep a token id as one character of a string, and need two ids more.
MAX_VOCABULARY: Final = 0x110000 - 2


class Text(NamedTuple):
    """What a model learns from."""

    ids: Sequence[int]  # the held-out part included
    num_train: int  # how many of them, from the start, to learn
    tokens: Sequence[str] = ()  # the vocabulary's tokens, by id


class Option(NamedTuple):
    """What the user can set for a model; the command line makes a flag of it, without a value if it is a bool."""

    type: type
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    flag: str = ""  # where it is not the name

    def checked(self, name: str, value: Any) -> Any:
        """Return a value as this option's type; InputError if it is of another kind."""
        kind, called = _KINDS[self.type]
        if not isinstance(value, kind):
            raise InputError(f"{name} must be {called}, got {value!r:.40}")
        return self.type(value)


_KINDS: Final = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a word"),
}


@dataclass(frozen=True)
class Settings:
    """What decides how a model looks and learns, besides the text and the seed. Models with options have more."""

    context: int  # N, how many tokens the model looks back


# --- how a model describes itself to files ------------------------------------------------------------------

TENSORS_NAME: Final = "02_model_weights.safetensors"  # for more weights than tables are good for
MOST_HEADER_BYTES: Final = 1 << 20  # of that file

# What a column can hold.
CONTEXT: Final = "context"  # a tuple of token ids, shown as a label
TOKEN: Final = "token"  # noqa: S105 - a token id, shown as the token
OTHER_TOKENS: Final = "token or all others"  # the same, or None for all tokens without a line of their own
TEXT: Final = "text"
COUNT: Final = "count"  # a whole number of 0 or more
NUMBER: Final = "number"  # a float that is read back exactly
WEIGHT: Final = "weight"  # a float of six decimals


class Column(NamedTuple):
    """A column of a model's table."""

    name: str  # its header
    holds: str  # CONTEXT, TOKEN, …
    by_token: bool = False  # whether it stands for V columns, one per token and named after it


class ModelTable(NamedTuple):
    """One table of a model's content."""

    name: str  # the file's name, for example ``02_counts.csv``
    columns: tuple[Column, ...]
    num_rows: int  # a file with fewer or more is damaged
    rows: Iterable[tuple[Any, ...]]  # in a fixed order


@dataclass(frozen=True)
class Content:
    """All that a trained model is: its numbers as tables or, if there are too many, as tensors (and tables)."""

    layout: str  # how it is written: one of the model's ``layouts``
    tables: Sequence[ModelTable] = ()  # in the order of writing
    tensors: Mapping[str, tuple[tuple[int, ...], Any]] = field(default_factory=dict)  # (shape, flat array), by name
    decimals: int | None = None  # how many decimals its weights have; None if they are exact
    about: Mapping[str, Any] = field(default_factory=dict)  # what else the metadata needs to build the model again


class Evidence(NamedTuple):
    """A part of a token's probability that counts of one context gave."""

    length: int  # how many tokens that context has
    probability: float
    counts_kinds: bool  # whether it counts different tokens before the context, and not how often the token came


class Model(ABC):
    """A next-token model of V tokens that looks N tokens back; InputError if either is out of range.

    A subclass overrides ``logits`` or ``next_probs``: each is the default of the other.
    """

    options: ClassVar[Mapping[str, Option]] = {}
    layouts: ClassVar[tuple[str, ...]] = ("tables",)
    default_context: ClassVar[int] = 0  # unless its name or the user says another
    smallest_context: ClassVar[int] = 0
    learning_rate: ClassVar[float] = 0.0  # if it is no option; 0 for a model that only counts
    train_loss_on: ClassVar[str] = "the training text"
    steps_are_votes: ClassVar[bool] = False  # whether those of logit_lens() stand side by side
    trains_in_steps: ClassVar[bool] = False  # whether it can use workers and checkpoints
    learns_online: ClassVar[bool] = False  # whether there is a learner()
    can_be_traced: ClassVar[bool] = False  # whether evidence() says which places gave a probability

    def __init__(self, vocab_size: int, context_size: int) -> None:
        if not 1 <= vocab_size <= MAX_VOCABULARY:
            raise InputError(f"the vocabulary must have 1 to {MAX_VOCABULARY} different tokens, got {vocab_size}")
        if context_size < self.smallest_context:
            raise InputError(f"the context must be at least {self.smallest_context}, got {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size

    # --- building ------------------------------------------------------------------------------------------

    @classmethod
    def settings(cls, name: str, context: int | None, **given: Any) -> Settings:
        """Return settings, with defaults for what is not given; InputError if one of ``options`` makes no sense."""
        return Settings(cls.default_context if context is None else context)

    @classmethod
    def build(cls, vocab_size: int, settings: Any, seed: int) -> Self:
        """Return an untrained model."""
        return cls(vocab_size, settings.context)

    @classmethod
    def resolved_engine(cls, choice: Choice, vocab_size: int, settings: Any) -> tuple[Choice, str]:
        """Return what will compute a model, and why, where that was not said; refuse what would end the memory."""
        return choice, ""

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], most_numbers: int) -> Self:
        """Return an untrained model of the size in a run's metadata; InputError if they describe no such model.

        ``vocab_size`` and ``context_size`` have been checked. The run's files cannot hold more than ``most_numbers``: a
        larger model is refused before it is made.
        """
        return cls(meta["vocab_size"], meta["context_size"])

    def compute_with(self, choice: Choice) -> None:
        """Let an engine compute the predictions from now on; InputError if it cannot."""
        if choice.name == "torch":
            raise InputError("--engine torch computes networks; this model counts")

    @property
    def min_context(self) -> int:
        """How many tokens the model needs before it can predict."""
        return 0

    # --- learning ------------------------------------------------------------------------------------------

    @classmethod
    def min_tokens(cls, context: int) -> int:
        """Return how many tokens the model needs to learn from."""
        return context + 1

    def training_ids(self, text: Text) -> Sequence[int]:
        """Return the ids to learn; InputError if they are too few, ValueError if one is not from 0 to V-1."""
        ids = text.ids[: text.num_train]
        if len(ids) < (needed := self.min_tokens(self.context_size)):
            raise InputError(f"{len(ids)} training tokens are too few: the model needs at least {needed}")
        is_checked = getattr(ids, "below", None) == self.vocab_size  # a token file, whose ids were looked at already
        if not is_checked and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise ValueError(f"token ids are 0 to {self.vocab_size - 1}, got {min(ids)} to {max(ids)}")
        return ids

    @abstractmethod
    def fit(
        self,
        text: Text,
        settings: Any,
        *,
        seed: int = 0,
        workers: int = 1,
        checkpoints: Any = None,
        on_start: OnStart | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Record]:
        """Learn a text.

        ``settings`` are from settings(); errors are those of training_ids(). ``workers`` processes share the work and
        change no number. ``checkpoints`` say where to keep checkpoints and what to resume from. ``on_start`` is called
        when all is checked, before the first step. ``on_progress`` may raise StopTraining: the model keeps what it has
        learned so far, or re-raises if that is nothing.

        REQ: at the end the model is the one that its files will hold, with the same rounded numbers.

        Yields:
            Records of the log: ``epoch``, ``avg_loss``, ``accuracy``, and what else the model measures.
        """

    def loss_floor(self, train_ids: Sequence[int]) -> float:
        """Return the lowest average loss that a table of the model's context can reach on the training text."""
        return longest_context_floor(train_ids, self.context_size)

    def scored_from(self, num_train: int) -> int | None:
        """Return the first training token to measure the final train loss on; None to take that of the last record."""
        return None

    def training_record(self, settings: Any, history: Sequence[Record]) -> dict[str, Any]:
        """Return what the metadata's ``training`` says: how the model learned."""
        return {"learning_rate": self.learning_rate, "epochs": 1}

    # --- predicting ----------------------------------------------------------------------------------------

    def context(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the last N ids of a text; ValueError if they are too few, or one is not from 0 to V-1."""
        context = tuple(ids[max(len(ids) - self.context_size, 0) :])
        if len(context) < self.min_context:
            more = "s" if self.min_context > 1 else ""
            raise InputError(f"the model needs {self.min_context} token{more} to start from, got {len(context)}")
        if not all(0 <= token_id < self.vocab_size for token_id in context):
            raise ValueError(f"token ids are 0 to {self.vocab_size - 1}, got {context}")
        return context

    def new_cache(self) -> Any:
        """Return an empty memory of one text, to be given with each token more; None if the model gains nothing."""
        return None

    def window_begin(self, position: int, length: int) -> int:
        """Return the first token that score() looks at to predict the one at ``position`` of a text of ``length``.

        Here it is the text's first one, for next_probs() itself looks at the last N only.
        """
        return 0

    @property
    def writes_together(self) -> bool:
        """Whether several texts take hardly more time than one; ``logits_of`` then gives the logits of all of them."""
        return False

    def logits_of(self, texts: Sequence[Sequence[int]], cache: Any = None) -> Iterator[list[float]]:
        """Yield what logits() returns for each of several texts of one length, which share a cache."""
        return (self.logits(ids) for ids in texts)

    def logits(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V logits for the token after a text, of which only the last N tokens count; errors as in context().

        ``cache`` is from new_cache(), one for each text that grows token by token.
        """
        return [log(max(p, SMALLEST_PROBABILITY)) for p in self.next_probs(ids, cache)]

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities for the token after a text; arguments as for logits()."""
        return softmax(self.logits(ids, cache))

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Yield a prediction for each token from ``start`` on: how likely was it, given those before it?

        The id V stands for a token that is not in the vocabulary.
        """
        for position in range(start, len(ids)):
            before = ids[max(position - self.context_size, 0) : position]
            if len(before) < self.min_context or self.vocab_size in before:
                yield Prediction(1 / self.vocab_size, 0, False)
                continue
            probs, target = self.next_probs(before), ids[position]
            yield Prediction(probs[target] if target < self.vocab_size else 0.0, argmax(probs), None)

    def evidence(self, context: Sequence[int], token_id: int) -> tuple[list[Evidence], float]:
        """Return what each context gave to the probability of a token after ``context``, and the rest, which none gave.

        InputError if the model does not add up what it counted.
        """
        raise InputError("only kneser-ney and the tables can be traced: their probabilities come from counted places")

    def logit_lens(self, ids: Sequence[int], cache: Any = None) -> list[Any]:
        """Return what a network would predict after each of its steps, or what each part of another model votes for.

        The logits of the last step are the model's own. InputError if it has no such steps.

        ``cache`` is from new_cache(), as for logits().
        """
        raise InputError(
            "only a network has steps to explain, and context-mixing votes; what this model knows is in its files"
        )

    def forget(self, before: Sequence[int], after: Sequence[int]) -> Record:
        """Become the model of ``after``, exactly as if it had learned that alone; it has learned ``before``.

        The texts differ in one place, so that most counts stay. Returns the record that fit() would have yielded.
        InputError if the model cannot take out again what it has learned, or what is left is too little.
        """
        raise InputError("only kneser-ney can forget: the others have to be trained again without the lines")

    def learner(self) -> Self:
        """Return a copy that learns from every token it has predicted; InputError if the model cannot do that.

        Its score() learns each token right after scoring it. With a cache, logits() and next_probs() first learn the
        tokens of the text that the cache has not seen yet.
        """
        raise InputError("it is frozen once it is trained; only context-mixing can learn while it reads")

    # --- its content, for files ----------------------------------------------------------------------------

    @abstractmethod
    def num_parameters(self) -> int:
        """Return how many numbers training has set."""

    @abstractmethod
    def content(self) -> Content:
        """Return all that is needed to become this model again."""

    @abstractmethod
    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Prepare for load_tables(); return the columns of each table that it needs, by file name."""

    @abstractmethod
    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described, after expected_tables(); ValueError if the tables do not fit."""

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield the tables that count tokens: the name, each token's count by id, how many first tokens it omits."""
        yield from ()

    def ngrams(self) -> NGrams:
        """Return the model as n-grams with back-off weights; InputError if it cannot be said so."""
        raise InputError("it predicts in another way than by n-grams that have probabilities and back-off weights")

    @property
    def most_tensor_bytes(self) -> int:
        """How large a file of tensors can be, as far as that is known before they are read."""
        return MOST_HEADER_BYTES + 8 * self.num_parameters()

    def load_tensors(self, tensors: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Become the model that content() described with tensors, if it has that layout; before load_tables().

        The tensors are still in their file and have not been looked at: whole numbers, or floats. ValueError if they do
        not fit.
        """
        raise ValueError("the model is not written as tensors")
