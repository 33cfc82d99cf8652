"""config.py - Options of a command in a file: ``--config run.toml``, and presets that come with the package.

    model = "gpt"          # a name is an option's, with _ for -
    corpus = "my.txt"      # a path is relative to the file's folder
    steps = 500
    no_keep = true

What is typed wins over the file, and the file over a preset. Tables ([training]) may group names; they mean nothing.
``toy-gpt train`` writes such a file, from which the run can be repeated.
"""

import argparse
import json
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import tokenizer_argument
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import read_toml
from toy_gpt_train.show import one_line
from toy_gpt_train.world.text import spec_of

PRESETS: Final = Path(__file__).resolve().parents[1] / "presets"


def add_config(parser: argparse.ArgumentParser, *, presets: bool) -> None:
    """Add --config, and --preset if the command has presets; the parser then calls config_arguments()."""
    meaning = "a TOML file of options, with _ for - in names; what you type wins"
    parser.add_argument("--config", type=Path, metavar="FILE", help=meaning)
    if presets:
        names = sorted(path.stem for path in PRESETS.glob("*.toml"))
        meaning = "settings of a first network, or of a known project; what you type wins"
        parser.add_argument("--preset", choices=names, help=meaning)


def config_arguments(parser: argparse.ArgumentParser, typed: Sequence[str]) -> list[str]:
    """Return what --preset and --config among typed arguments stand for, as arguments to put before those.

    InputError if a file cannot be read, or has a name or a kind of value that the parser's options do not have.
    """
    asked = argparse.ArgumentParser(add_help=False, exit_on_error=False)  # it takes --conf for --config, as the parser
    asked.add_argument("--config", type=Path)
    asked.add_argument("--preset")
    try:
        found, _ = asked.parse_known_args(typed)
    except argparse.ArgumentError:
        return []  # the parser itself says what is wrong
    flags = {argument.partition("=")[0] for argument in typed}
    groups = [
        {flag for one in group._group_actions for flag in one.option_strings}
        for group in parser._mutually_exclusive_groups
    ]
    beaten = set().union(*(group for group in groups if group & flags))
    preset = PRESETS / f"{found.preset}.toml"
    arguments: dict[str, list[str]] = {}  # by option, so that the file's ``no_keep = false`` undoes the preset's
    if found.preset is not None and preset in PRESETS.glob("*.toml"):
        arguments |= _arguments_of(parser, preset, beaten)
    if found.config is not None:
        arguments |= _arguments_of(parser, found.config, beaten)
    return [argument for option in arguments.values() for argument in option]


def _arguments_of(parser: argparse.ArgumentParser, path: Path, beaten: Container[str]) -> dict[str, list[str]]:
    """Return what a file says, as typed arguments by option.

    Left out are those ``beaten`` by a typed one that they cannot stand beside.
    """
    arguments: dict[str, list[str]] = {}
    for name, value in _flattened(read_toml(path)):
        flag = f"--{name.replace('_', '-')}"
        action = parser._option_string_actions.get(flag)
        if action is None or action.dest in ("config", "preset", "help"):
            raise InputError(f"{path}: {name!r:.60} is not an option of {parser.prog}")
        arguments[action.dest] = [] if flag in beaten else _typed(action, flag, value, path)
    return arguments


def _flattened(declared: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return names and values, those of tables among them; a later one wins."""
    names: list[tuple[str, Any]] = []
    for name, value in declared.items():
        names += value.items() if isinstance(value, dict) else [(name, value)]
    return names


def _typed(action: argparse.Action, flag: str, value: Any, path: Path) -> list[str]:
    """Return an option and its value as they would be typed."""
    is_list = isinstance(value, list)
    values: list[Any] = value if is_list else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise InputError(f"{path}: {flag[2:]} is neither a number nor a text")
    if isinstance(value, bool) and action.nargs in (0, "?"):
        return [flag] if value else []
    if action.nargs == 0:
        raise InputError(f"{path}: {flag[2:]} must be true or false")
    if any(isinstance(one, bool) for one in values) or (is_list and action.nargs not in ("+", "*")):
        raise InputError(f"{path}: {flag[2:]} takes one number or text")
    texts = [_text(action, one, path) for one in values]
    if len(texts) == 1:
        return [f"{flag}={texts[0]}"]
    # WHY: in a list, argparse would take it for another option.
    if any(text.startswith("-") for text in texts):
        raise InputError(f"{path}: {flag[2:]}: of several texts none can begin with -")
    return [flag, *texts] if texts else []


def _text(action: argparse.Action, value: str | float, path: Path) -> str:
    if not isinstance(value, str):
        try:
            return str(value)
        except ValueError as error:  # a whole number of thousands of digits
            raise InputError(f"{path}: {action.dest} is too large") from error
    if "\0" in value:
        raise InputError(f"{path}: {action.dest} has a NUL character")
    is_path = action.type in (Path, tokenizer_argument) and isinstance(action.type(value), Path)
    is_path = is_path and spec_of(path.parent / value) is None
    # WHY ./ before a relative one: a folder may have the name of a kind of tokenizer.
    return os.path.join(os.curdir, os.path.normpath(path.parent / value)) if is_path else value  # noqa: PTH118


# --- writing one ----------------------------------------------------------------------------------------------


def config_text(options: Mapping[str, Any], folder: Path, remarks: Sequence[str] = ()) -> str:
    """Return a file of options that --config reads.

    Args:
        options: Their values: texts, numbers, True, lists of texts, and paths.
        folder: Where the file will be; paths are written relative to it.
        remarks: What it says at the top.

    Example:
        >>> print(config_text({"model": "gpt", "steps": 500, "corpus": Path("a.txt")}, Path("out"), ["A run."]), end="")
        # A run.
        <BLANKLINE>
        model = "gpt"
        steps = 500
        corpus = "../a.txt"
    """
    lines = [f"# {one_line(remark)}" for remark in remarks]
    return "\n".join([*lines, "", *(f"{name} = {_toml(value, folder)}" for name, value in options.items())]) + "\n"


def _toml(value: Any, folder: Path) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Path) and spec_of(value) is not None:
        value = value.name
    if isinstance(value, Path):
        try:
            value = Path(os.path.relpath(value, folder)).as_posix()
        except ValueError:  # on another drive
            value = value.absolute().as_posix()
    if isinstance(value, str):
        # WHY: JSON's escapes are TOML's too, but TOML has no lone surrogate, and wants DEL escaped.
        text = value.encode("utf-8", "replace").decode("utf-8")
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(_toml(one, folder) for one in value)}]"
