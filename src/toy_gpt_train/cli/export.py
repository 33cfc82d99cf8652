"""export.py - ``toy-gpt export``: write a model for other software."""

import argparse
from pathlib import Path
from typing import Final

from toy_gpt_train.cli.arguments import add_run, load_run
from toy_gpt_train.exchange import FORMATS
from toy_gpt_train.show import say

HELP: Final = "write a model for other software: Hugging Face, llama.cpp, KenLM"
LESSON: Final = """What you train here is the real thing, only small. Other programs open it, and give the same numbers:
transformers (hf), llama.cpp and ollama (gguf), KenLM (arpa, for Kneser-Ney).

examples:
  toy-gpt export --base-dir my_llama --to hf --out my_llama_hf
  toy-gpt export --base-dir my_llama --to gguf --out my_llama.gguf
  toy-gpt export --base-dir my_run --to arpa --out my_run.arpa"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt export``."""
    add_run(parser)
    parser.add_argument("--to", choices=FORMATS, required=True, help="the format")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the file to write; for hf, the folder")
    parser.set_defaults(handler=_export)


def _export(args: argparse.Namespace) -> int:
    paths = load_run(args).export(args.to, args.out)
    written = str(args.out) if len(paths) == 1 else f"{len(paths)} files to {args.out}"
    say(f"wrote {written}, {sum(path.stat().st_size for path in paths):,} bytes")
    return 0
