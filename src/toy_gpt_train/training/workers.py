"""parallel.py - The gradient of a batch, piece by piece, in this process or in several.

A batch is cut into pieces (micro-batches). Each piece has a gradient of its own, and the batch's is their sum: so a
batch may be larger than memory holds (gradient accumulation), and pieces may be worked on at the same time (data
parallelism). Each process has a copy of the network and is sent the weights before each batch.

REQ: the sum is taken in the order of the pieces, whoever worked on them, so the number of processes changes nothing.

What travels between the processes is plain arrays of numbers.
"""

import signal
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import add
from typing import TYPE_CHECKING, NamedTuple, Protocol

from toy_gpt_train.training.batches import Window, window_loss
from toy_gpt_train.nn.modules import LanguageModel

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Piece(NamedTuple):
    """A part of a batch.

    Attributes:
        windows: Windows of token ids, all of one length.
        share: Of the batch's mean loss.
        seed: For dropout.
    """

    windows: Sequence[Window]
    share: float = 1.0
    seed: int = 0


class Outcome(NamedTuple):
    """What came of a piece, or of a whole batch.

    Attributes:
        loss: The mean over its tokens, in nats.
        num_tokens: How many tokens were predicted.
        correct: For how many the likeliest was right.
    """

    loss: float
    num_tokens: int
    correct: int


def cut_batch(windows: Sequence[Window], piece_size: int, seeds: Callable[[], int]) -> list[Piece]:
    """Cut a batch into pieces.

    Args:
        windows: The batch.
        piece_size: Windows a piece; the last may have fewer.
        seeds: Gives a seed for each piece.

    Returns:
        The pieces.

    Example:
        >>> [piece.share for piece in cut_batch([[1, 2], [3, 4], [5, 6], [7, 8]], 3, lambda: 0)]
        [0.75, 0.25]
    """
    parts = (windows[start : start + piece_size] for start in range(0, len(windows), piece_size))
    return [Piece(part, len(part) / len(windows), seeds()) for part in parts]


def piece_gradient(model: LanguageModel, piece: Piece) -> tuple[Outcome, "array[float]"]:
    """Return what a network makes of a piece, and the piece's part of the batch's gradient.

    Args:
        model: The network; its gradients are forgotten.
        piece: The piece.

    Returns:
        The outcome, and the gradients of all parameters one after the other.
    """
    model.train()
    model.seed_dropout(piece.seed)
    model.zero_grad()
    loss, num_tokens, correct = window_loss(model, piece.windows)
    loss.backward([piece.share])
    gradient = array("d")
    for parameter in model.parameters():
        gradient.extend(parameter.grad if parameter.grad is not None else array("d", bytes(8 * len(parameter.data))))
    model.zero_grad()
    model.train(False)
    return Outcome(loss.item(), num_tokens, correct), gradient


def piece_loss(model: LanguageModel, piece: Piece) -> tuple[Outcome, "array[float]"]:
    """Return what a network makes of a piece, with no gradient."""
    loss, num_tokens, correct = window_loss(model, piece.windows)
    return Outcome(loss.item(), num_tokens, correct), array("d")


class Workers(Protocol):
    """Whoever works on pieces."""

    def outcomes(self, pieces: Sequence[Piece], *, with_gradient: bool) -> Iterator[tuple[Outcome, "array[float]"]]:
        """Yield what came of each piece, in their order."""

    def close(self) -> None:
        """Stop working."""


class OneProcess:
    """Works on all pieces itself.

    Args:
        model: The network.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def outcomes(self, pieces: Sequence[Piece], *, with_gradient: bool) -> Iterator[tuple[Outcome, "array[float]"]]:
        """Yield what came of each piece, in their order."""
        work = piece_gradient if with_gradient else piece_loss
        return (work(self._model, piece) for piece in pieces)

    def close(self) -> None:
        """Nothing to stop."""


class SeveralProcesses:
    """Shares pieces out among processes, each with a network of its own.

    Args:
        model: The network whose weights count.
        build: Makes a network of the same shape; a function that a new process can import.
        number: How many processes.

    Raises:
        OSError: They cannot be started.
    """

    def __init__(self, model: LanguageModel, build: Callable[[], LanguageModel], number: int) -> None:
        # WHY here: some places where Python runs (a browser) have no processes, and one process needs none of it.
        from multiprocessing import get_context

        self._model = model
        context = get_context("spawn")
        self._connections: list[Connection] = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            with _control_c_waits():
                context.Process(target=_serve, args=(theirs, build), daemon=True).start()
            theirs.close()
            self._connections.append(ours)

    def outcomes(self, pieces: Sequence[Piece], *, with_gradient: bool) -> Iterator[tuple[Outcome, "array[float]"]]:
        """Yield what came of each piece, in their order.

        Raises:
            ChildProcessError: A process has ended.
        """
        weights = b"".join(bytes(memoryview(array("d", p.data)).cast("B")) for p in self._model.parameters())
        number = len(self._connections)
        try:
            for i, connection in enumerate(self._connections):
                connection.send_bytes(weights)
                connection.send_bytes(_to_bytes(pieces[i::number], with_gradient=with_gradient))
            for i in range(len(pieces)):
                connection = self._connections[i % number]
                loss, num_tokens, correct = _floats(connection.recv_bytes())
                yield Outcome(loss, int(num_tokens), int(correct)), _floats(connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise ChildProcessError("a worker process has ended; train again with --workers 1 to see why") from error

    def close(self) -> None:
        """Let the processes end."""
        for connection in self._connections:
            connection.close()


@contextmanager
def _control_c_waits() -> Iterator[None]:
    """Let Ctrl-C wait while a process is started; the process inherits that, and never hears it.

    WHY not in the process itself: it would answer with a traceback until it got there.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # WHY first: starting it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: "Connection", build: Callable[[], LanguageModel]) -> None:
    """Work on what comes through a connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    model = build()
    try:
        while True:
            weights = _floats(connection.recv_bytes())
            start = 0
            for parameter in model.parameters():
                parameter.data = weights[start : start + len(parameter.data)]
                start += len(parameter.data)
            pieces, work = _from_bytes(connection.recv_bytes())
            for piece in pieces:
                outcome, gradient = work(model, piece)
                connection.send_bytes(array("d", outcome).tobytes())
                connection.send_bytes(gradient.tobytes())
    except (EOFError, OSError):
        return  # whoever asked has gone


def _floats(message: bytes) -> "array[float]":
    floats = array("d")
    floats.frombytes(message)
    return floats


def _to_bytes(pieces: Sequence[Piece], *, with_gradient: bool) -> bytes:
    """Write pieces as numbers: whether gradients are wanted; then for each its share, seed, sizes, and ids."""
    numbers = array("d", [with_gradient])
    for windows, share, seed in pieces:
        numbers.extend([share, seed, len(windows), len(windows[0])])
        for window in windows:
            numbers.extend(window)
    return numbers.tobytes()


Work = Callable[[LanguageModel, Piece], tuple[Outcome, "array[float]"]]


def _from_bytes(message: bytes) -> tuple[list[Piece], Work]:
    numbers = iter(_floats(message))
    work = piece_gradient if next(numbers) else piece_loss
    pieces: list[Piece] = []
    for share in numbers:
        seed, num_windows, length = (int(next(numbers)) for _ in range(3))
        windows = [[int(next(numbers)) for _ in range(length)] for _ in range(num_windows)]
        pieces.append(Piece(windows, share, seed))
    return pieces, work


def batch_gradient(model: LanguageModel, workers: Workers, pieces: Sequence[Piece]) -> Outcome:
    """Give every parameter the gradient of a batch's mean loss.

    Args:
        model: The network whose parameters get it.
        workers: Who works on the pieces.
        pieces: The batch; their shares sum to 1.

    Returns:
        What came of the whole batch.
    """
    total = array("d")
    outcomes: list[Outcome] = []
    for outcome, gradient in workers.outcomes(pieces, with_gradient=True):
        outcomes.append(outcome)
        total = gradient if len(outcomes) == 1 else array("d", map(add, total, gradient))
    start = 0
    for parameter in model.parameters():
        parameter.grad = total[start : start + len(parameter.data)]
        start += len(parameter.data)
    return sum_outcomes(outcomes)


def sum_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what came of all pieces together.

    Example:
        >>> sum_outcomes([Outcome(1.0, 3, 2), Outcome(2.0, 1, 0)])
        Outcome(loss=1.25, num_tokens=4, correct=2)
    """
    num_tokens = sum(outcome.num_tokens for outcome in outcomes)
    loss = sum(outcome.loss * outcome.num_tokens for outcome in outcomes) / num_tokens
    return Outcome(loss, num_tokens, sum(outcome.correct for outcome in outcomes))
