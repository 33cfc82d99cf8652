"""ngram_table.py - Models 100 to 400: a table with one row of weights for each context of N tokens.

REQ: the table of V to the N rows is never allocated.
WHY: a row that was never trained is all zeros, so it need not exist. In a trained row, all tokens that never followed
the context had the same gradient at every step, so they share one weight: a row is a few weights by token, and one for
the rest. c_model.py and d_train.py have the same model the textbook way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import exp, log
from typing import Any, ClassVar, Final, NamedTuple, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import EMBEDDINGS_NAME, WEIGHT_DECIMALS, WEIGHTS_NAME, weights_layout
from toy_gpt_train.math_training import add_up, conditional_entropy
from toy_gpt_train.models import base
from toy_gpt_train.models.base import CONTEXT, COUNT, OTHER_TOKENS, WEIGHT, Column, Content, Model, ModelTable
from toy_gpt_train.models.scores import Prediction, summarize
from toy_gpt_train.progress import OnProgress

Context = tuple[int, ...]
RowsByTask = dict[Any, list[tuple[Context, list[int]]]]  # of each task, the contexts, and the token ids of the cells

MOST_CONTEXT_TOKENS: Final = 100_000_000  # in the contexts of all rows together
MOST_BYTES_OF_ALL_ROWS: Final = 100_000_000  # of the weights file
_BYTES_PER_WEIGHT: Final = 10  # "-0.123456,"
# OBS: inside the training part of Tiny Shakespeare, in characters, the bigram's loss is 2.4965, 2.4928 and 2.4915 after
# one, two and three epochs of 14,000 steps per row. The unigram's, with 900,000 in each, is the same after each.
_WAY_TO_SETTLE: Final = 3_000  # of a row: its steps times the learning rate, which is 0.1 there

_DENSE: Final = (Column("input_token", CONTEXT), Column("", WEIGHT, by_token=True))
_SPARSE: Final = (Column("input_token", CONTEXT), Column("output_token", OTHER_TOKENS), Column("weight", WEIGHT))
_VIEW: Final = (Column("row", COUNT), Column("label", CONTEXT), Column("x", WEIGHT), Column("y", WEIGHT))


class TableRow(NamedTuple):
    """The V logits of one context: those in ``weights``, and ``rest`` for every other token."""

    weights: dict[int, float]
    rest: float

    def logit(self, token_id: int) -> float:
        """Return the weight of one token."""
        return self.weights.get(token_id, self.rest)

    def dense(self, vocab_size: int) -> list[float]:
        """Return all V weights."""
        row = [self.rest] * vocab_size
        for token_id, weight in self.weights.items():
            row[token_id] = weight
        return row


ZERO_ROW: Final = TableRow({}, 0.0)  # of every context that training never met


def compact_row(weights: Mapping[int, float], rest: float, vocab_size: int) -> TableRow:
    """Return a row in its canonical form: the rest is the most common weight, and of equally common ones the smallest.

    WHY one form: sums of floats depend on their order, and equal rows must give bit for bit equal probabilities,
    whether they come from training or from a file.

    >>> compact_row({0: 0.5, 1: -0.5, 2: -0.5}, 0.0, vocab_size=3)
    TableRow(weights={0: 0.5}, rest=-0.5)
    """
    counts = Counter(weights.values())
    counts[rest] += vocab_size - len(weights)
    most = max(counts.values())
    common = min(weight for weight, count in counts.items() if count == most)
    token_ids: Iterable[int] = sorted(weights) if common == rest else range(vocab_size)
    own = {token_id: weights.get(token_id, rest) for token_id in token_ids}
    return TableRow({token_id: weight for token_id, weight in own.items() if weight != common}, common)


def row_probabilities(row: TableRow, vocab_size: int) -> TableRow:
    """Return softmax over a row, in O(tokens seen), not O(V): probabilities in the form of a row.

    >>> row_probabilities(TableRow({}, 0.0), vocab_size=4)
    TableRow(weights={}, rest=0.25)
    """
    top = max(row.weights.values(), default=row.rest)
    num_rest = vocab_size - len(row.weights)
    if num_rest > 0:
        top = max(top, row.rest)
    exps = {token_id: exp(weight - top) for token_id, weight in row.weights.items()}
    rest = exp(row.rest - top) if num_rest > 0 else 0.0
    total = add_up(exps.values()) + num_rest * rest
    return TableRow({token_id: e / total for token_id, e in exps.items()}, rest / total)


def most_likely(probs: TableRow, vocab_size: int) -> int:
    """Return argmax of V probabilities in the form of a row: the first id with the largest one.

    >>> most_likely(TableRow({0: 0.2, 2: 0.4}, 0.4), vocab_size=3)
    1
    """
    best = max(probs.weights.values(), default=0.0)
    candidates = [token_id for token_id, probability in probs.weights.items() if probability == best]
    if probs.rest >= best and len(probs.weights) < vocab_size:
        unseen = next(token_id for token_id in range(vocab_size) if token_id not in probs.weights)
        candidates = [*candidates, unseen] if probs.rest == best else [unseen]
    return min(candidates)


def training_pairs(ids: Sequence[int], context_size: int) -> Iterator[tuple[Context, int]]:
    """Yield (context, target) for each token with a full context before it.

    >>> list(training_pairs([3, 1, 2, 4], 2))
    [((3, 1), 2), ((1, 2), 4)]
    """
    if context_size == 0:
        return (((), target) for target in ids)
    # WHY zip: N copies of the text, each shifted by one more token, give all windows without a Python loop.
    contexts = zip(*(ids[start:] for start in range(context_size)), strict=False)
    return zip(contexts, ids[context_size:], strict=False)


class NGramTable(Model):
    """A table of next-token weights: ``rows`` has those that are not all zeros, by context."""

    options: ClassVar[Mapping[str, base.Option]] = {
        "epochs": base.Option(
            int, "E", "a table's passes over the text (default: 50, fewer where all rows are met often)"
        ),
        "learning_rate": base.Option(
            float, "LR", "step size of gradient descent (default: 0.1 for a table; a network's by its size)"
        ),
        "all_rows": base.Option(
            bool, "", "write every row of a table, also those never trained, if that takes less than 100 MB"
        ),
    }
    layouts: ClassVar[tuple[str, ...]] = ("all", "observed", "sparse")
    can_be_traced: ClassVar[bool] = True

    def __init__(self, vocab_size: int, context_size: int) -> None:
        super().__init__(vocab_size, context_size)
        self.rows: dict[Context, TableRow] = {}
        self.all_rows = False  # whether every row is written, however many there are
        self._layout = self.layouts[0]  # of the tables to be loaded

    @classmethod
    def settings(cls, name: str, context: int | None, **given: Any) -> Any:
        """Return checked settings: epochs and step size."""
        # WHY here: a model that only predicts needs no code for training.
        from toy_gpt_train.training.tables import TableSettings

        return TableSettings(context=cls.default_context if context is None else context, **given)

    @classmethod
    def build(cls, vocab_size: int, settings: Any, seed: int) -> Self:
        """Return an untrained table."""
        model = cls(vocab_size, settings.context)
        model.all_rows = settings.all_rows
        return model

    def enough_epochs(self, ids: Sequence[int], learning_rate: float) -> int:
        """Return after how many epochs the rows have settled, as a mean of all: at least 1."""
        self._check_memory(len(ids))
        steps = _WAY_TO_SETTLE / learning_rate * self.count_contexts(ids)
        # WHY the second limit: for a tiny rate, the quotient is infinite.
        return int(min(max(steps / max(len(ids) - self.context_size, 1), 1), 1e9))

    def count_contexts(self, ids: Sequence[int]) -> int:
        """Return how many different contexts a text has: the rows of its table."""
        return len({context for context, _ in training_pairs(ids, self.context_size)})

    def _check_memory(self, num_tokens: int) -> None:
        """Refuse, with InputError, a text whose contexts would be too many."""
        if num_tokens * self.context_size > MOST_CONTEXT_TOKENS:
            raise InputError(
                f"{num_tokens} training tokens with a context of {self.context_size} do not fit into memory: tokens "
                f"times context must be at most {MOST_CONTEXT_TOKENS:,}"
            )

    @property
    def min_context(self) -> int:
        """All N tokens: a row belongs to a full context."""
        return self.context_size

    def fit(
        self,
        text: base.Text,
        settings: Any,
        *,
        on_start: base.OnStart | None = None,
        on_progress: OnProgress | None = None,
        **_: Any,
    ) -> Iterator[base.Record]:
        """Learn by gradient descent from the rows that there are: pairs in order, an update for each, ``epochs`` times.

        Yield a record per epoch: ``avg_loss`` and ``accuracy`` over all pairs, each taken before its update;
        ``val_loss`` and ``val_accuracy`` on the held-out part, if there is one.
        """
        from toy_gpt_train.training.tables import train_rows

        ids = self.training_ids(text)
        self._check_memory(len(ids))
        num_pairs = len(ids) - self.context_size
        if self.all_rows:
            self._check_size(self.count_contexts(ids), text.tokens)
        if on_start is not None:
            on_start()
        rows_of = self.rows_by_task(training_pairs(ids, self.context_size))
        validated = text.num_train < len(text.ids)
        weights: Mapping[Any, Sequence[float]] = {}
        tasks = {task: len(rows) for task, rows in rows_of.items()}
        for number, (loss, correct, weights) in enumerate(train_rows(tasks, settings, on_progress), start=1):
            record = {"epoch": number, "avg_loss": loss / num_pairs, "accuracy": correct / num_pairs}
            if validated:
                self._take_over(rows_of, weights)
                scores = summarize(zip(self.score(text.ids, text.num_train), text.ids[text.num_train :], strict=True))
                record.update(val_loss=scores.loss, val_accuracy=scores.accuracy)
            yield record
        self._take_over(rows_of, weights)
        self._round_weights()

    def _check_size(self, num_trained: int, tokens: Sequence[str]) -> None:
        """Refuse, with InputError, a weights file of all rows that would be too large."""
        # WHY floats: V to the N may have more digits than there is time to compute.
        num_rows = exp(min(self.context_size * log(self.vocab_size), 700))
        label = self.context_size * (1 + sum(len(token.encode("utf-8")) for token in tokens) / self.vocab_size)
        untrained = num_rows * (label + 2 * self.vocab_size)  # a zero and a comma for each weight
        num_bytes = untrained + num_trained * self.vocab_size * _BYTES_PER_WEIGHT
        if num_bytes >= MOST_BYTES_OF_ALL_ROWS:
            raise InputError(
                f"the {self.vocab_size} to the power of {self.context_size} rows would take {num_bytes / 1e6:.3g} MB; "
                f"at most {MOST_BYTES_OF_ALL_ROWS / 1e6:.0f} MB are written"
            )

    def rows_by_task(self, pairs: Iterable[tuple[Context, int]]) -> RowsByTask:
        """Group the rows of (context, next token) pairs by task; rows of one task learn the same weights."""
        from toy_gpt_train.training.tables import row_task

        targets_of: dict[Context, list[int]] = {}
        for context, target in pairs:
            targets_of.setdefault(context, []).append(target)
        rows_of: RowsByTask = {}
        for context, targets in targets_of.items():
            task, token_ids = row_task(*self.rows.get(context, ZERO_ROW), targets, self.vocab_size)
            rows_of.setdefault(task, []).append((context, token_ids))
        return rows_of

    def _take_over(self, rows_of: RowsByTask, weights: Mapping[Any, Sequence[float]]) -> None:
        for task, rows in rows_of.items():
            own = list(weights[task])
            rest = own.pop(task.rest_cell) if task.num_rest else 0.0
            for context, token_ids in rows:
                self.rows[context] = TableRow(dict(zip(token_ids, own, strict=True)), rest)

    def _round_weights(self) -> None:  # and forget rows that are all zeros
        trained, self.rows = self.rows, {}
        for context, (weights, rest) in trained.items():
            rounded = {token_id: round(weight, WEIGHT_DECIMALS) + 0.0 for token_id, weight in weights.items()}
            self._keep(context, compact_row(rounded, round(rest, WEIGHT_DECIMALS) + 0.0, self.vocab_size))

    def _keep(self, context: Context, row: TableRow) -> None:
        if row != ZERO_ROW:
            self.rows[context] = row

    def loss_floor(self, train_ids: Sequence[int]) -> float:
        """Return the conditional entropy of the training pairs."""
        return conditional_entropy(training_pairs(train_ids, self.context_size))

    def scored_from(self, num_train: int) -> int | None:
        """Return the first token with a full context."""
        return self.context_size

    def training_record(self, settings: Any, history: Sequence[base.Record]) -> dict[str, Any]:
        """Return the step size and the number of epochs."""
        return {"learning_rate": settings.learning_rate, "epochs": len(history)}

    def logits(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return the context's row; all zeros if training never met it."""
        return self.rows.get(self.context(ids), ZERO_ROW).dense(self.vocab_size)

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return softmax of the context's row."""
        row = self.rows.get(self.context(ids), ZERO_ROW)
        return row_probabilities(row, self.vocab_size).dense(self.vocab_size)

    def evidence(self, context: Sequence[int], token_id: int) -> tuple[list[base.Evidence], float]:
        """Return all of the probability as given by the context's row, which its places have trained."""
        if tuple(context) not in self.rows:
            return [], 1 / self.vocab_size
        return [base.Evidence(self.context_size, self.next_probs(context)[token_id], False)], 0.0

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text in O(tokens seen); with fewer than N tokens before it, a token has a context never seen."""
        unseen = Prediction(1 / self.vocab_size, 0, False)
        known: dict[Context, tuple[TableRow, int]] = {}
        kept: dict[tuple[Context, int], Prediction] = {}  # WHY: most pairs come many times
        for position in range(start, len(ids)):
            context = tuple(ids[max(position - self.context_size, 0) : position])
            pair = context, ids[position]
            if pair not in kept:
                row = self.rows.get(context)
                if row is None:
                    yield unseen
                    continue
                if context not in known:
                    probs = row_probabilities(row, self.vocab_size)
                    known[context] = probs, most_likely(probs, self.vocab_size)
                probs, best = known[context]
                kept[pair] = Prediction(probs.logit(pair[1]), best, True)
            yield kept[pair]

    def num_parameters(self) -> int:
        """Return V for each row that exists."""
        return len(self.rows) * self.vocab_size

    def content(self) -> Content:
        """Return the weights, in the layout that suits their number, and the first two of each row as a view."""
        layout = "all" if self.all_rows else weights_layout(self.vocab_size, self.context_size, len(self.rows))
        num_rows = self.vocab_size**self.context_size if layout == "all" else len(self.rows)
        if layout == "sparse":
            num_lines = len(self.rows) + sum(len(row.weights) for row in self.rows.values())
            weights = ModelTable(WEIGHTS_NAME, _SPARSE, num_lines, self._sparse_lines())
        else:
            lines = ((context, *row.dense(self.vocab_size)) for context, row in self._rows_in(layout))
            weights = ModelTable(WEIGHTS_NAME, _DENSE, num_rows, lines)
        view = ModelTable(EMBEDDINGS_NAME, _VIEW, num_rows, self._view_lines(layout))
        return Content(layout, (weights, view), decimals=WEIGHT_DECIMALS)

    def _rows_in(self, layout: str) -> Iterator[tuple[Context, TableRow]]:
        every = product(range(self.vocab_size), repeat=self.context_size)
        for context in every if layout == "all" else sorted(self.rows):
            yield context, self.rows.get(context, ZERO_ROW)

    def _sparse_lines(self) -> Iterator[tuple[Any, ...]]:
        """Yield a line per token with a weight of its own, and at the end of each row one for all other tokens."""
        for context, row in self._rows_in("sparse"):
            yield from ((context, token_id, weight) for token_id, weight in row.weights.items())
            yield context, None, row.rest

    def _view_lines(self, layout: str) -> Iterator[tuple[Any, ...]]:
        """Yield the first two weights of each row. OBS: no training made them an embedding."""
        for context, row in self._rows_in(layout):
            index = 0  # the context's ids as the digits of a number in base V
            for token_id in context:
                index = index * self.vocab_size + token_id
            yield index, context, row.logit(0), row.logit(1) if self.vocab_size > 1 else 0.0

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of the weights file; the view is not read."""
        self._layout = layout
        self.all_rows = layout == "all"
        return {WEIGHTS_NAME: _SPARSE if layout == "sparse" else _DENSE}

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the table that content() described."""
        read = self._sparse_rows if self._layout == "sparse" else self._dense_rows
        self.rows = {}
        met: set[Context] = set()
        for context, row in read(tables[WEIGHTS_NAME]):
            if context in met:
                raise InputError("the row occurs twice")
            met.add(context)
            self._keep(context, row)

    def _dense_rows(self, lines: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Context, TableRow]]:
        for context, *cells in lines:
            yield context, compact_row(dict(enumerate(cells)), 0.0, self.vocab_size)

    def _sparse_rows(self, lines: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Context, TableRow]]:
        """Yield rows of several lines each; the last of them is for all other tokens."""
        weights: dict[int, float] = {}
        current: Context | None = None
        for context, token_id, weight in lines:
            if current not in (None, context):
                raise InputError("the row before has no line for '*', all other tokens")
            if token_id in weights:
                raise InputError("the token occurs twice in its row")
            if token_id is None:
                yield context, compact_row(weights, weight, self.vocab_size)
                weights, current = {}, None
            else:
                weights[token_id], current = weight, context
        if current is not None:
            raise InputError("the file ends in the middle of a row")
