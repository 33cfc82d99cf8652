"""cli/ - The command line: ``toy-gpt`` and ``python -m toy_gpt_train``.

A thin layer over the public API: it reads arguments, calls it, and prints. User errors become one line on standard
error; nothing is half-written. Exit codes: 0 done, 1 a check found a difference, 2 bad input or a file that cannot be
used, 130 stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP).
"""

import argparse
import gc
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from toy_gpt_train import __version__
from toy_gpt_train.cli.arguments import LessonFormatter
from toy_gpt_train.cli.config import config_arguments
from toy_gpt_train.engine import ranks
from toy_gpt_train.errors import InputError, InputWarning
from toy_gpt_train.show import one_line, say

# A module of each name adds the options and the handler of the command.
_COMMANDS: Final = (
    *("train", "infer", "evaluate", "compress", "decompress", "forget", "chat", "ladder", "tokenize", "data"),
    *("export", "import", "view", "kit", "levels", "exercises", "check"),
)

_SILENT_SECONDS: Final = 2.0  # so that another process can speak: torchrun ends all as soon as one has ended

_START: Final = """start here:
  toy-gpt train           learn the words of a small text
  toy-gpt infer           see what comes next, and let the model write
  toy-gpt COMMAND --help  each command explains itself, with lines to type"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, one_line(f"{self.prog}: error: {message} (see {self.prog} --help)") + "\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        typed = sys.argv[1:] if args is None else list(args)
        if "--config" in self._option_string_actions:
            typed = [*config_arguments(self, typed), *typed]
        return super().parse_known_args(typed, namespace)


def build_parser(names: Sequence[str] = _COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of some commands, by default of all. WHY of some: to load all takes longer than a small one."""
    parser = _Parser(
        prog="toy-gpt",
        description="How language models are really trained: from counting words upward, one readable step at a time.",
        epilog=_START,
        formatter_class=LessonFormatter,
    )
    parser.add_argument("--version", action="version", version=f"toy-gpt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        command = import_module(f"toy_gpt_train.cli.{name}{'_' if iskeyword(name) else ''}")
        summary = command.HELP
        added = commands.add_parser(
            name, help=summary, description=summary, epilog=command.LESSON, formatter_class=LessonFormatter
        )
        command.add_arguments(added)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, by default the arguments of this process; return the exit code."""
    _prepare_streams()
    try:
        with _notes(), _stoppable():
            code = _run(argv)
    except BrokenPipeError:
        code = 0  # the reader of our output is gone (| head)
    problem = _empty(sys.stdout)
    if problem is not None and code == 0 and not isinstance(problem, BrokenPipeError):
        code = _fail(f"standard output: {problem.strerror}")
    _empty(sys.stderr)
    return code


def _run(argv: Sequence[str] | None) -> int:
    """Run one command; every user error becomes one line and an exit code."""
    try:
        typed = sys.argv[1:] if argv is None else argv
        parser = build_parser(typed[:1] if typed and typed[0] in _COMMANDS else _COMMANDS)
        if not typed:
            say(parser.format_help().rstrip())
            return 0
        args = parser.parse_args(argv)
        if (number := ranks().number) > 1 and args.command != "train":
            raise InputError(f"torchrun has started {number} processes, but only toy-gpt train can use more than one")
        code: int = args.handler(args)
        return code
    except SystemExit as stop:  # argparse
        return stop.code if isinstance(stop.code, int) else 0
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal may be gone
            if _speaks():
                print("\nstopped; nothing is half-written", file=sys.stderr)
        return 128 + (stop.args[0] if isinstance(stop, _Stopped) else signal.SIGINT)


class _Stopped(KeyboardInterrupt):
    """A signal that asks the process to end, as Ctrl-C does; its argument is the signal's number."""


def _stop(number: int, frame: object) -> NoReturn:
    raise _Stopped(number)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM (kill) and SIGHUP (the terminal is closed) end like Ctrl-C: temporary files are removed.

    WHY not where they are ignored already: nohup does that, so that the process outlives its terminal.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    in_main_thread = threading.current_thread() is threading.main_thread()
    changed = [number for number in numbers if in_main_thread and signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _prepare_streams() -> None:
    """Let the standard streams carry any character of a token or a file name, and read bytes that are not text.

    WHY a closed one leads nowhere: otherwise the next file opened takes its number, and gets what is printed.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if name == "stdin" else "backslashreplace")


def _empty(stream: TextIO) -> OSError | None:
    """Write out what is left in a stream. If that fails it goes nowhere, and the interpreter does not complain."""
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


@contextmanager
def _notes() -> Iterator[None]:  # what the package finds odd becomes one line on standard error
    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, InputWarning):
            _tell(f"toy-gpt: note: {message}")
        else:
            others(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        others, warnings.showwarning = warnings.showwarning, show
        yield


def _tell(line: str) -> None:
    with suppress(OSError):  # standard error may be full or gone
        if _speaks():
            print(one_line(line), file=sys.stderr)


def _speaks() -> bool:
    """Return whether this process tells what is wrong: of those that torchrun starts on a computer, the first does."""
    with suppress(InputError):
        return ranks().local_rank == 0
    return True


def _fail(message: str) -> int:
    _tell(f"toy-gpt: error: {message}")
    if not _speaks():
        time.sleep(_SILENT_SECONDS)
    return 2


def collect_rarely() -> None:
    """Let the collector of cycles run less often: training makes millions of objects that live to the end."""
    gc.set_threshold(200_000, 50, 100)


def entry() -> NoReturn:
    """Run the process's own command line and exit with its code."""
    collect_rarely()
    raise SystemExit(main())
