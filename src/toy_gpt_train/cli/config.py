"""config.py - Options of a command in a file: ``--config run.toml``, and presets that come with the package.

    model = "gpt"          # a name is an option's, with _ for -
    corpus = "my.txt"      # a path is relative to the file's folder
    steps = 500
    no_keep = true

What is typed wins over the file, and the file over a preset. Tables ([training]) may group names; they mean nothing.
"""

import argparse
import os
import tomllib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_text

PRESETS: Final = Path(__file__).resolve().parents[1] / "presets"
_MOST_BYTES: Final = 65_536


def add_config(parser: argparse.ArgumentParser, *, presets: bool) -> None:
    """Add --config, and --preset if the command has presets; the parser then calls config_arguments()."""
    meaning = "a TOML file of options, with _ for - in names; what is typed wins"
    parser.add_argument("--config", type=Path, metavar="FILE", help=meaning)
    if presets:
        names = sorted(path.stem for path in PRESETS.glob("*.toml"))
        meaning = "settings of a known project, all at once; what is typed wins"
        parser.add_argument("--preset", choices=names, help=meaning)


def config_arguments(parser: argparse.ArgumentParser, typed: Sequence[str]) -> list[str]:
    """Return what --preset and --config among typed arguments stand for, as arguments to put before those.

    InputError if a file cannot be read, or has a name or a kind of value that the parser's options do not have.
    """
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    asked.add_argument("--config", type=Path)
    asked.add_argument("--preset")
    try:
        found, _ = asked.parse_known_args(typed)
    except argparse.ArgumentError:
        return []  # the parser itself says what is wrong
    files = [PRESETS / f"{found.preset}.toml"] if found.preset is not None else []
    files = [path for path in files if path.is_file()] + ([found.config] if found.config else [])
    flags = {argument.partition("=")[0] for argument in typed}
    groups = [
        {flag for one in group._group_actions for flag in one.option_strings}
        for group in parser._mutually_exclusive_groups
    ]
    beaten = set().union(*(group for group in groups if group & flags))
    return [argument for path in files for argument in _arguments_of(parser, path, beaten)]


def _arguments_of(parser: argparse.ArgumentParser, path: Path, beaten: Container[str]) -> list[str]:
    """Return a file's options as arguments, but for those ``beaten`` by a typed one that they cannot stand beside."""
    try:
        declared = tomllib.loads(read_text(path, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {str(error)[:200]}") from error
    arguments: list[str] = []
    for name, value in _flattened(declared):
        flag = f"--{name.replace('_', '-')}"
        action = parser._option_string_actions.get(flag)
        if action is None or name in ("config", "preset", "help"):
            raise InputError(f"{path}: {name[:40]!r} is no option of {parser.prog}")
        arguments += [] if flag in beaten else _typed(action, flag, value, path)
    return arguments


def _flattened(declared: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return names and values, those of tables among them; a later one wins."""
    names: list[tuple[str, Any]] = []
    for name, value in declared.items():
        names += value.items() if isinstance(value, dict) else [(name, value)]
    return names


def _typed(action: argparse.Action, flag: str, value: Any, path: Path) -> list[str]:
    """Return an option and its value as they would be typed."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise InputError(f"{path}: {flag[2:]} is neither a number nor a text")
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{path}: {flag[2:]} must be true or false")
        return [flag] if value else []
    if isinstance(value, bool) or (isinstance(value, list) and action.nargs is None):
        raise InputError(f"{path}: {flag[2:]} takes one number or text")
    texts = [os.path.normpath(path.parent / one) if action.type is Path else str(one) for one in map(str, values)]
    return [f"{flag}={texts[0]}"] if action.nargs is None else [flag, *texts]
