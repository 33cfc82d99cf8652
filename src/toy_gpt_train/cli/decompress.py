"""decompress.py - ``toy-gpt decompress``: the text that ``toy-gpt compress`` has coded."""

import argparse
import json
from pathlib import Path
from typing import Final

from toy_gpt_train.cli.arguments import add_run, load_run
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_bytes
from toy_gpt_train.show import say

HELP: Final = "restore the text of a file that toy-gpt compress has written"
LESSON: Final = """The model says how likely each token is, the bits say which one it was, and the model reads on:
what it says next depends on the tokens that have come out. So a text can only be read from its start, and only with
the model that has coded it. A hash in the file tells whether all bytes are the same.

examples:
  toy-gpt compress --base-dir my_run --text other.txt --out other.tg
  toy-gpt decompress other.tg --base-dir my_run --out again.txt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt decompress``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that toy-gpt compress has written")
    add_run(parser, engine=False)
    parser.add_argument("--out", type=Path, required=True, metavar="TEXT", help="the text to write")
    parser.add_argument("--json", action="store_true", help="print the sizes as one JSON object")
    parser.set_defaults(handler=_decompress)


def _decompress(args: argparse.Namespace) -> int:
    loaded = load_run(args)
    data = read_bytes(args.file)
    try:
        text = loaded.decompress(data, progress=True).encode("utf-8")
    except InputError as error:
        raise InputError(f"{args.file}: {error}") from error
    with whole_file(args.out) as file:
        file.write(text)
    if args.json:
        say(json.dumps({"bytes": len(data), "text_bytes": len(text)}))
    else:
        say(f"wrote {args.out}, {len(text):,} bytes")
    return 0
