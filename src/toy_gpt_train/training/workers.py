"""workers.py - The gradient of a batch, micro-batch by micro-batch, in this process or in several.

A batch is cut into micro-batches, and its gradient is the sum of theirs. So a batch may be larger than memory holds
(gradient accumulation), and micro-batches can be processed at the same time (data parallelism). Each process has a copy
of the network, and is sent the weights before each batch.

REQ: the sum is taken in the order of the micro-batches, so the number of processes changes no bit of it.
"""

import signal
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import add
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from toy_gpt_train.math_training import add_up
from toy_gpt_train.nn.kernels import doubles
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.training.batches import Window, window_loss

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

PATIENCE_SECONDS: Final = 60  # without a heartbeat of a worker; then it does not work any more
_HEARTBEAT: Final = b"."  # shorter than any number
_HEARTBEAT_SECONDS: Final = 1.0


class MicroBatch(NamedTuple):
    """The part of a batch that is processed at once."""

    windows: Sequence[Window]  # windows of token ids, all of one length
    share: float = 1.0  # its share of the batch's windows
    seed: int = 0  # for dropout
    burn_in: int = 0  # of a window the first positions, which are only read


class BatchStats(NamedTuple):
    """The result of a micro-batch, or of a whole batch."""

    loss: float  # the mean over its predictions, in nats
    num_tokens: int  # how many tokens were predicted
    correct: int  # for how many of them the most likely token was right


Result = tuple[BatchStats, "array[float]"]  # and the gradients of all parameters, one after the other
Work = Callable[[Network, MicroBatch], Result]


def cut_batch(windows: Sequence[Window], size: int, seeds: Callable[[], int], burn_in: int = 0) -> list[MicroBatch]:
    """Cut a batch into micro-batches of ``size`` windows, the last perhaps of fewer; ``seeds`` gives each its seed."""
    parts = (windows[start : start + size] for start in range(0, len(windows), size))
    return [MicroBatch(part, len(part) / len(windows), seeds(), burn_in) for part in parts]


def micro_batch_gradient(network: Network, micro_batch: MicroBatch) -> Result:
    """Return the result of a micro-batch, and its share of the batch's gradient; the network is left as it was."""
    network.train()
    network.seed_dropout(micro_batch.seed)
    network.zero_grad()
    loss, num_tokens, correct = window_loss(network, micro_batch.windows, micro_batch.burn_in)
    loss.backward([micro_batch.share])
    gradient = array("d")
    for parameter in network.parameters():
        gradient.extend(parameter.grad if parameter.grad is not None else array("d", bytes(8 * len(parameter.data))))
    network.zero_grad()
    network.train(False)
    return BatchStats(loss.item(), num_tokens, correct), gradient


def micro_batch_loss(network: Network, micro_batch: MicroBatch) -> Result:
    """Return the result of a micro-batch, without dropout and with no gradient."""
    loss, num_tokens, correct = window_loss(network, micro_batch.windows, micro_batch.burn_in)
    return BatchStats(loss.item(), num_tokens, correct), array("d")


def batch_gradient(network: Network, workers: "Workers", micro_batches: Sequence[MicroBatch]) -> BatchStats:
    """Give every parameter of a network the gradient of a batch's mean loss; return the result of the whole batch."""
    total = array("d")
    results: list[BatchStats] = []
    for stats, gradient in workers.results(micro_batches, with_gradient=True):
        results.append(stats)
        total = gradient if len(results) == 1 else array("d", map(add, total, gradient))
    start = 0
    for parameter in network.parameters():
        parameter.grad = total[start : start + len(parameter.data)]
        start += len(parameter.data)
    return sum_stats(results)


def sum_stats(results: Sequence[BatchStats]) -> BatchStats:
    """Return the result of several micro-batches, or batches, together."""
    num_tokens = sum(stats.num_tokens for stats in results)
    loss = add_up(stats.loss * stats.num_tokens for stats in results) / num_tokens
    return BatchStats(loss, num_tokens, sum(stats.correct for stats in results))


@dataclass
class SerialWorkers:
    """Processes all micro-batches in this process."""

    network: Network

    def results(self, micro_batches: Sequence[MicroBatch], *, with_gradient: bool) -> Iterator[Result]:
        """Yield the result and the gradient of each micro-batch, in their order."""
        work = micro_batch_gradient if with_gradient else micro_batch_loss
        return (work(self.network, micro_batch) for micro_batch in micro_batches)

    def close(self) -> None:
        """Nothing to stop."""


class ProcessWorkers:
    """Shares micro-batches among processes; OSError if they cannot be started.

    Each has a network of its own, which ``build`` makes (importable); the weights of ``network`` count.
    """

    def __init__(self, network: Network, build: Callable[[], Network], number: int) -> None:
        self._network = network
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._sender: Thread | None = None
        try:
            for _ in range(number):
                self._start(build)
        except (OSError, ImportError) as error:  # a browser has no processes; elsewhere there may be no more of them
            self.close()
            why = getattr(error, "strerror", None) or error
            raise ChildProcessError(f"no worker process can be started ({why}); train with --workers 1") from error

    def _start(self, build: Callable[[], Network]) -> None:
        from multiprocessing import get_context  # WHY here: this module must be importable in a browser

        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self._connections.append(ours)
        process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        with _control_c_waits(), theirs:
            process.start()
        self._processes.append(process)

    def results(self, micro_batches: Sequence[MicroBatch], *, with_gradient: bool) -> Iterator[Result]:
        """Yield results as SerialWorkers does; ChildProcessError if a process has ended, or gives no sign of life."""
        weights = b"".join(array("d", parameter.data).tobytes() for parameter in self._network.parameters())
        number = len(self._connections)
        work = micro_batch_gradient if with_gradient else micro_batch_loss
        messages = [(work, micro_batches[i::number]) for i in range(min(number, len(micro_batches)))]
        # WHY a thread: sending waits for a process that does not read, and only receiving knows when that is too long.
        self._sender = Thread(target=self._send, args=(weights, messages), daemon=True)
        self._sender.start()
        try:
            for i in range(len(micro_batches)):
                connection = self._connections[i % number]
                loss, num_tokens, correct = doubles(_receive(connection))
                yield BatchStats(loss, int(num_tokens), int(correct)), doubles(_receive(connection))
        except ChildProcessError:
            raise
        except (EOFError, OSError) as error:
            raise ChildProcessError(
                "a worker process has ended; train again with --workers 1 to see why (a script that trains with more "
                'than one must do so below: if __name__ == "__main__")'
            ) from error

    def _send(self, weights: bytes, messages: Sequence[tuple[Work, Sequence[MicroBatch]]]) -> None:
        with suppress(OSError):  # the process has ended
            for connection, message in zip(self._connections, messages, strict=False):
                connection.send_bytes(weights)
                connection.send(message)

    def close(self) -> None:
        """End the processes. WHY not by asking them: one that is stopped would not answer."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        if self._sender is not None and self._sender.is_alive():  # Ctrl-C may have come before it was started
            self._sender.join()
        for connection in self._connections:
            connection.close()


def _receive(connection: "Connection") -> bytes:
    """Return the next message that is no heartbeat; an error if the process has ended or has long been silent."""
    # WHY second by second: if this process is stopped too (Ctrl-Z), its own sleep must not count.
    while any(connection.poll(1.0) for _ in range(PATIENCE_SECONDS)):
        message = connection.recv_bytes()
        if message != _HEARTBEAT:
            return message
    raise ChildProcessError(
        f"a worker process has given no sign of life for {PATIENCE_SECONDS} seconds; it is stopped, or the computer is "
        "too busy: train again with fewer --workers"
    )


@contextmanager
def _control_c_waits() -> Iterator[None]:
    """Hold back Ctrl-C while a process is started, which inherits that: it would answer with a traceback."""
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


Workers = SerialWorkers | ProcessWorkers


def _serve(connection: "Connection", build: Callable[[], Network]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    sending = Lock()
    Thread(target=_beat, args=(connection, sending), daemon=True).start()
    network = build()
    try:
        while True:
            weights = doubles(connection.recv_bytes())
            start = 0
            for parameter in network.parameters():
                parameter.data = weights[start : start + len(parameter.data)]
                start += len(parameter.data)
            work, micro_batches = connection.recv()
            for micro_batch in micro_batches:
                stats, gradient = work(network, micro_batch)
                with sending:
                    connection.send_bytes(array("d", stats).tobytes())
                    connection.send_bytes(gradient.tobytes())
    except (EOFError, OSError):
        return  # the other end is gone


def _beat(connection: "Connection", sending: Lock) -> None:
    with suppress(OSError):  # the other end is gone
        while True:
            with sending:
                connection.send_bytes(_HEARTBEAT)
            time.sleep(_HEARTBEAT_SECONDS)
