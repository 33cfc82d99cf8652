"""engine.py - Who computes a network: the standard library, or PyTorch, which is an optional extra."""

from os import environ
from typing import Final, NamedTuple

from toy_gpt_train.errors import InputError

ENGINES: Final = ("stdlib", "torch", "auto")
DTYPES: Final = ("float32", "bfloat16", "float64")
# Weights from which on ``auto`` takes PyTorch, if it is there: smaller networks learn in minutes without it.
_LARGE: Final = 200_000


_OLDEST_TORCH: Final = (2, 9)


def _has_torch() -> bool:
    from importlib.util import find_spec  # WHY here: few need it, and every command would wait for it

    return find_spec("torch") is not None


def _check_torch() -> None:
    """Refuse, with InputError, a PyTorch that is not there or too old."""
    from importlib.metadata import PackageNotFoundError, version

    if not _has_torch():
        raise InputError("--engine torch needs PyTorch: pip install 'toy-gpt-train[torch]'")
    try:
        found = version("torch")
        is_old = tuple(map(int, found.split(".")[:2])) < _OLDEST_TORCH
    except (PackageNotFoundError, ValueError):  # one that nobody has installed, or with another kind of number
        return
    if is_old:
        oldest = ".".join(map(str, _OLDEST_TORCH))
        raise InputError(f"--engine torch needs PyTorch {oldest} or newer; {found} is installed")


class Ranks(NamedTuple):
    """This process among those that train one network together; torchrun starts them, and numbers them from 0."""

    rank: int = 0
    number: int = 1
    local_rank: int = 0  # its number on this computer
    restarts: int = 0  # how often torchrun has started them anew

    @property
    def is_first(self) -> bool:
        """Whether this is the one that logs and writes."""
        return self.rank == 0


def ranks() -> Ranks:
    """Return what torchrun says of this process; InputError if that makes no sense.

    Example:
        >>> ranks()
        Ranks(rank=0, number=1, local_rank=0, restarts=0)
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
    if not all(name in environ for name in (*names, "MASTER_ADDR")):
        return Ranks()
    try:
        found = Ranks(*(int(environ[name]) for name in names))
    except ValueError as error:
        raise InputError(f"the numbers that torchrun gives make no sense: {error}") from error
    if not (0 <= found.rank < found.number and found.local_rank >= 0 and found.restarts >= 0):
        raise InputError(f"the numbers that torchrun gives make no sense: process {found.rank} of {found.number}")
    return found


class Choice(NamedTuple):
    """Which engine, and how; InputError from checked() if that makes no sense."""

    name: str = "stdlib"  # one of ENGINES
    device: str = "auto"  # of PyTorch: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the fastest there is
    dtype: str = "float32"  # of PyTorch: one of DTYPES
    compile: bool = False  # whether PyTorch translates the network first: slow to begin, then faster

    def checked(self) -> "Choice":
        """Return it, if there is such an engine here."""
        for name, value, known in (("engine", self.name, ENGINES), ("dtype", self.dtype, DTYPES)):
            if value not in known:
                raise InputError(f"unknown {name} {value!r:.40}; there are {', '.join(known)}")
        if self.name == "stdlib" and self[1:] != Choice()[1:]:
            raise InputError("--device, --dtype and --compile need --engine torch")
        if self.name == "torch":
            _check_torch()
        if self.name == "stdlib" and (number := ranks().number) > 1:
            raise InputError(
                f"torchrun has started {number} processes, and only --engine torch lets them train together; the "
                "standard library has --workers"
            )
        return self

    def resolved(self, num_weights: int) -> tuple["Choice", str]:
        """Return what ``auto`` means for a network of that size, and why, in a few words.

        Example:
            >>> Choice("torch").resolved(1000)
            (Choice(name='torch', device='auto', dtype='float32', compile=False), '')
        """
        if self.name != "auto":
            return self, ""
        if ranks().number > 1:
            return self._replace(name="torch").checked(), "torchrun has started several processes"
        if not _has_torch():
            return Choice(), "PyTorch is not installed"
        if num_weights <= _LARGE:
            return Choice(), f"the network has at most {_LARGE:,} weights"
        return self._replace(name="torch"), f"the network has more than {_LARGE:,} weights"


STDLIB: Final = Choice()
