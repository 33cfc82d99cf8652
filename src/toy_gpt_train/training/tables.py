"""tables.py - Gradient descent on the rows of a table, one pattern of targets at a time.

For each pair (context, next token), every weight of the context's row moves a small step:

    row -= learning_rate * (probs - onehot(target))

Three facts make this fast without changing a number. A pair changes only its context's row, so rows can be trained one
after the other. Rows that start alike and meet the same pattern of targets learn the same weights, so each pattern is
trained once; benchmarks/bench_tables.py prints how many patterns a text has. And a row with many targets need not
return from exp(weight) to its weights at each step, because a step is a product there:

    exp(row) *= exp(-learning_rate * probs), and the target's cell *= exp(learning_rate)

Source: the gradient of softmax with cross-entropy is probs - onehot: Bridle (1990), "Probabilistic interpretation of
feedforward classification network outputs".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Final, NamedTuple

from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, add_up
from toy_gpt_train.progress import OnProgress

# WHY blocks: one row may have most of the text's pairs (the unigram's has all), and its progress is shown too.
_BLOCK_STEPS: Final = 256
_LARGEST_EXPONENT: Final = 600.0  # exp(-600) has all digits; below exp(-708) they are lost one by one


@dataclass(frozen=True)
class TableSettings:
    """How a table learns."""

    epochs: int = 50  # passes over the text
    learning_rate: float = 0.1  # step size of gradient descent
    context: int = 3  # N, how many tokens the table looks back
    all_rows: bool = False  # whether every row is written, however many there are

    def __post_init__(self) -> None:
        if not (isfinite(self.learning_rate) and 0 < self.learning_rate <= 1000):
            raise InputError(f"the learning rate must be above 0 and at most 1000, got {self.learning_rate}")
        if self.epochs < 1:
            raise InputError(f"epochs must be at least 1, got {self.epochs}")


class RowTask(NamedTuple):
    """Everything that the training of one row depends on; rows with equal tasks learn equal weights.

    A row is trained as cells: one per token that has, or will have, a weight of its own, and one for all other tokens.
    They are in the order of the (smallest) token id that they stand for, so the first largest cell is the argmax.
    """

    targets: tuple[int, ...]  # the cells of the targets, in the order of the text
    weights: tuple[float, ...]  # the weight of each cell before training
    rest_cell: int  # the cell for all other tokens; if there are none, a row has no such cell, and this is 0
    num_rest: int  # how many tokens those are


def row_task(
    weights: Mapping[int, float], rest: float, targets: Sequence[int], vocab_size: int
) -> tuple[RowTask, list[int]]:
    """Return the task of one row, and the token ids of its cells, without the rest's.

    The row has ``weights`` of its own by token id, and ``rest`` for every other token. ``targets`` are the token ids
    that follow the row's context, in the order of the text.

    >>> row_task({}, 0.0, [2, 2], vocab_size=4)
    (RowTask(targets=(1, 1), weights=(0.0, 0.0), rest_cell=0, num_rest=3), [2])
    """
    token_ids = sorted({*weights, *targets})
    num_rest = vocab_size - len(token_ids)
    rest_cell = next((i for i, token_id in enumerate(token_ids) if i != token_id), len(token_ids))
    cell_of = {token_id: i + (i >= rest_cell) for i, token_id in enumerate(token_ids)}
    cells = [weights.get(token_id, rest) for token_id in token_ids]
    if num_rest:
        cells.insert(rest_cell, rest)
    else:
        rest_cell = 0
    return RowTask(tuple(map(cell_of.__getitem__, targets)), tuple(cells), rest_cell, num_rest), token_ids


class Epoch(NamedTuple):
    """The result of one pass over all rows."""

    loss: float  # the total loss of all pairs in nats, each taken before its update
    correct: int  # how many targets were the most likely token before their update
    weights: Mapping[RowTask, Sequence[float]]  # what each task has learned so far


def train_rows(
    tasks: Mapping[RowTask, int], settings: TableSettings, on_progress: OnProgress | None = None
) -> Iterator[Epoch]:
    """Train rows by gradient descent: targets in order, one update for each, ``epochs`` times over.

    ``tasks`` says how many rows have each task. If ``on_progress`` raises StopTraining, the epoch is the last one.
    """
    weights_of = {task: list(task.weights) for task in tasks}
    total = sum(len(task.targets) * len(task.weights) for task in tasks) * settings.epochs
    done, stopped = 0, False
    for epoch in range(1, settings.epochs + 1):
        epoch_loss, epoch_correct = 0.0, 0
        for task, num_rows in tasks.items():
            weights = weights_of[task]
            for start in range(0, len(task.targets), _BLOCK_STEPS):
                block = task.targets[start : start + _BLOCK_STEPS]
                step = descend_in_products if products_fit(weights, block, settings.learning_rate) else descend
                weights, loss, correct = step(weights, block, task, settings.learning_rate)
                epoch_loss += loss * num_rows
                epoch_correct += correct * num_rows
                done += len(block) * len(weights)
                if on_progress is not None:
                    try:
                        on_progress(done / total, f"epoch {epoch}/{settings.epochs}")
                    except StopTraining:
                        stopped = True
            weights_of[task] = weights
        yield Epoch(epoch_loss, epoch_correct, weights_of)
        if stopped:
            return


def descend(weights: list[float], targets: Sequence[int], task: RowTask, rate: float) -> tuple[list[float], float, int]:
    """Take one gradient step for each target, in order: a few passes over the row's cells, whatever V is.

    ``weights`` are the row's cells; the task says which of them stands for several tokens, and for how many. Return the
    new weights, the total loss, and how many targets were the most likely; both taken before each update.
    """
    rest_cell, more = task.rest_cell, max(task.num_rest - 1, 0)
    loss, correct = 0.0, 0
    for target in targets:
        top = max(weights)
        exps = [exp(weight - top) for weight in weights]
        total = add_up(exps) + more * exps[rest_cell]
        loss -= log(max(exps[target] / total, SMALLEST_PROBABILITY))
        correct += exps.index(1.0) == target  # exp(0): the first cell with the largest weight
        # The gradient of cell j is probs[j], minus 1 at the target.
        scale = rate / total
        weights = [weight - scale * e for weight, e in zip(weights, exps, strict=True)]
        weights[target] += rate
    return weights, loss, correct


def products_fit(weights: Sequence[float], targets: Sequence[int], rate: float) -> bool:
    """Return whether descend_in_products() can take a block: a full one, whose products stay numbers with all digits.

    WHY a full one: few steps leave weights as round as 0.0000625, and their last bit decides the sixth decimal.
    """
    return len(targets) == _BLOCK_STEPS and max(weights) - min(weights) + rate * len(targets) < _LARGEST_EXPONENT


def descend_in_products(
    weights: list[float], targets: Sequence[int], task: RowTask, rate: float
) -> tuple[list[float], float, int]:
    """Do what descend() does, in half the time: from step to step it keeps exp(weight), not the weight."""
    rest_cell, more = task.rest_cell, max(task.num_rest - 1, 0)
    top, raised = max(weights), exp(rate)
    exps = [exp(weight - top) for weight in weights]
    loss, correct, best = 0.0, 0, 0
    for target in targets:
        total = add_up(exps) + more * exps[rest_cell]
        loss -= log(max(exps[target] / total, SMALLEST_PROBABILITY))
        if exps[target] >= exps[best]:  # if not, some cell is larger, and there is no need to know the largest
            best = exps.index(max(exps))
            correct += best == target
        scale = -rate / total
        exps = [e * exp(scale * e) for e in exps]
        exps[target] *= raised
    return [top + log(e) for e in exps], loss, correct
