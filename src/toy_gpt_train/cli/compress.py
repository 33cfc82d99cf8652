"""compress.py - ``toy-gpt compress``: a text becomes a file of as many bits as a model is surprised."""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import add_run, load_run
from toy_gpt_train.coding.compressed import HEADER_BYTES, Compressed, compress
from toy_gpt_train.disk import whole_file
from toy_gpt_train.files import decode_utf8, read_bytes
from toy_gpt_train.progress import shown
from toy_gpt_train.show import say

HELP: Final = "code a text with a model's probabilities: the size of the file is the loss"
LESSON: Final = """A token of probability 1/2 takes one bit, one of 1/4 two bits, and so on: what a model expects
takes few bits. Added up, that is the loss of toy-gpt evaluate in bits; the file has 15 bytes more. Only the same model
can open it, and every byte of the text comes back: no model can claim a loss that it does not have. White
space that the tokenizer forgets, and tokens that it does not know, are coded alongside the tokens. With --online the
model learns from each token after coding it.

examples:
  toy-gpt compress --base-dir my_run --text other.txt --out other.tg
  toy-gpt decompress other.tg --base-dir my_run --out again.txt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt compress``."""
    add_run(parser, engine=False)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to compress, UTF-8")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    meaning = "let the model learn from each token after coding it; only context-mixing can"
    parser.add_argument("--online", action="store_true", help=meaning)
    parser.add_argument("--json", action="store_true", help="print the sizes as one JSON object")
    parser.set_defaults(handler=_compress)


def _compress(args: argparse.Namespace) -> int:
    loaded = load_run(args)
    text = decode_utf8(read_bytes(args.text), args.text)
    begun = time.perf_counter()
    with shown(True, f"compressing {args.text.name}") as told:
        made = compress(loaded.model, loaded.tokenizer, text, online=args.online, on_progress=told)
    with whole_file(args.out) as file:
        file.write(made.data)
    found = _figures(made, text, time.perf_counter() - begun)
    if args.json:
        say(json.dumps(found))
    else:
        say(_lines(found, args))
    return 0


def _figures(made: Compressed, text: str, seconds: float) -> dict[str, Any]:
    bits = 8 * len(made.data)
    return {
        "text_bytes": len(text.encode("utf-8")),
        "text_chars": len(text),
        "tokens": made.num_tokens,
        "bytes": len(made.data),
        "header_bytes": HEADER_BYTES,
        "token_bits": made.token_bits,
        "gap_bits": made.gap_bits,
        "bits_per_char": bits / len(text) if text else None,
        "seconds": seconds,
    }


def _lines(found: dict[str, Any], args: argparse.Namespace) -> str:
    per_char = "" if found["bits_per_char"] is None else f", {found['bits_per_char']:.3f} bits per character"
    return (
        f"text        {args.text.name}, {found['text_bytes']:,} bytes, {found['text_chars']:,} characters\n"
        f"compressed  {found['bytes']:,} bytes{per_char}, to {args.out}\n"
        f"of these    {found['token_bits'] / 8:,.1f} bytes for {found['tokens']:,} tokens, "
        f"{found['gap_bits'] / 8:,.1f} for white space and unknown tokens, {found['header_bytes']} for the header"
    )
