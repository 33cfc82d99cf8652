"""engine.py - Who computes a network: the standard library, or PyTorch, which is an optional extra."""

from typing import Final, NamedTuple

from toy_gpt_train.errors import InputError

ENGINES: Final = ("stdlib", "torch", "auto")
DTYPES: Final = ("float32", "bfloat16", "float64")
# Weights from which on ``auto`` takes PyTorch, if it is there: smaller networks learn in minutes without it.
_LARGE: Final = 200_000


def _has_torch() -> bool:
    from importlib.util import find_spec  # WHY here: few need it, and every command would wait for it

    return find_spec("torch") is not None


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
        if self.name == "torch" and not _has_torch():
            raise InputError("--engine torch needs PyTorch: pip install 'toy-gpt-train[torch]'")
        return self

    def resolved(self, num_weights: int) -> tuple["Choice", str]:
        """Return what ``auto`` means for a network of that size, and why, in a few words.

        Example:
            >>> Choice("torch").resolved(1000)
            (Choice(name='torch', device='auto', dtype='float32', compile=False), '')
        """
        if self.name != "auto":
            return self, ""
        if not _has_torch():
            return Choice(), "PyTorch is not installed"
        if num_weights <= _LARGE:
            return Choice(), f"the network has at most {_LARGE:,} weights"
        return self._replace(name="torch"), f"the network has more than {_LARGE:,} weights"


STDLIB: Final = Choice()
