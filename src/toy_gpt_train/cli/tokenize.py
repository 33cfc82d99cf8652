"""tokenize.py - ``toy-gpt tokenize``: a text cut into tokens, a tokenizer learned and saved, bytes per token."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from toy_gpt_train.cli.arguments import add_numbers
from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.data.token_rate import TokenRate, token_rate
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import say
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, TOKENIZERS, Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.bpe_files import spell
from toy_gpt_train.tokenizers.saved import kind_or_folder, load_tokenizer

HELP: Final = "show how a text is cut into tokens, or learn and save a tokenizer"
LESSON: Final = """A model never sees letters, only the ids of tokens. Byte-level BPE begins with single bytes, and
merges the pair that comes most often, again and again. --word shows how one word is put together.

examples:
  toy-gpt tokenize --text "The dog jumped over the river."
  toy-gpt tokenize --word " garden"
  toy-gpt tokenize --tokenizer word --corpus my.txt --text garden
learn a tokenizer from a file of any size, save it, and measure it:
  toy-gpt tokenize --corpus my.txt --vocab-size 4000 --special '<|endoftext|>' --workers 4 --save my_bpe
  toy-gpt tokenize --tokenizer my_bpe --file other.txt --bytes-per-token --documents 100
and then:
  toy-gpt train --model gpt --tokenizer my_bpe --corpus my.txt --base-dir my_run"""
_CORPUS: Final = RESOURCE_ROOT / "corpus" / "030_stories.txt"
_TEXT: Final = "Mina had a small garden behind the house."

_COLORS: Final = ("\033[30;46m", "\033[30;43m", "\033[30;42m", "\033[30;45m")
_PLAIN: Final = "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt tokenize`` to its parser, and its handler."""
    kinds = ", ".join(TOKENIZERS)
    meaning = f"what a token is: {kinds}, or the folder of a saved tokenizer (default: bpe)"
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tokenizer", default="bpe", metavar="KIND", help=meaning)
    which.add_argument(
        "--folder",
        dest="tokenizer",
        type=Path,
        metavar="DIR",
        help="the folder of a saved tokenizer, even one named like a kind",
    )
    parser.add_argument("--corpus", type=Path, metavar="PATH", help="the text to learn from (default: the stories)")
    parser.add_argument(
        "--vocab-size", type=int, default=DEFAULT_VOCAB_SIZE, metavar="V", help="stop merging at V tokens (bpe only)"
    )
    meaning = "texts that are one token wherever they occur, such as <|endoftext|>"
    parser.add_argument("--special", nargs="+", default=[], metavar="TEXT", help=meaning)
    add_numbers(parser, ("--workers", 1, "W", "processes that count words of a large corpus (bpe only)"))
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", metavar="TEXT", help="the text to cut")
    text.add_argument("--file", type=Path, metavar="FILE", help="a file with the text to cut")
    parser.add_argument("--word", metavar="WORD", help="show the merges that made this word, step by step")
    parser.add_argument("--bytes-per-token", action="store_true", help="of the --file, print only this")
    meaning = "only N of its documents, drawn at random; special tokens end them, or else lines are documents"
    parser.add_argument("--documents", type=int, metavar="N", help=meaning)
    add_numbers(parser, ("--seed", 0, "S", "same seed, same documents (default: %(default)s)"))
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the tokenizer to this folder")
    parser.set_defaults(handler=_tokenize)


def _tokenize(args: argparse.Namespace) -> int:
    if args.bytes_per_token and args.file is None:
        raise InputError("--bytes-per-token measures a file: give --file")
    if args.documents is not None and not args.bytes_per_token:
        raise InputError("--documents goes with --bytes-per-token")
    made = kind_or_folder(args.tokenizer, ())
    tokenizer = _saved_tokenizer(made, args) if isinstance(made, Path) else _learned_tokenizer(made, args)
    shown = []
    if args.bytes_per_token:
        with closing(Progress(f"reading {args.file.name}")) as progress:
            rate = token_rate(args.file, tokenizer, args.documents, args.seed, progress.update)
        shown.append(_measured(rate, tokenizer))
    elif args.save is None or (args.text, args.file, args.word) != (None, None, None):
        text = (args.text or _TEXT) if args.file is None else read_corpus(args.file).text
        shown.append(show_tokens(tokenizer, text, in_color=sys.stdout.isatty()))
        if args.word is not None:
            shown.append(show_merges(tokenizer, args.word))
    if args.save is not None:
        tokenizer.save(args.save)
    if made == "bpe" and (fewer := args.vocab_size - tokenizer.vocab_size):
        found = tokenizer.vocab_size - 256 - len(args.special)
        say(f"found     {found} merges, not {found + fewer}: there are no more pairs to merge")
    if shown:
        say("\n".join(shown), raw=True)  # tokens are escaped, and the colors are ours
    if args.save is not None:
        say(f"written   to {args.save}: {tokenizer.vocab_size} tokens")
    return 0


def _saved_tokenizer(folder: Path, args: argparse.Namespace) -> Tokenizer:
    if args.corpus is not None:
        raise InputError(f"{folder}: a saved tokenizer learns nothing from --corpus")
    return load_tokenizer(folder, args.special)


def _learned_tokenizer(kind: str, args: argparse.Namespace) -> Tokenizer:
    corpus = _CORPUS if args.corpus is None else args.corpus
    with closing(Progress(f"learning {corpus.name}")) as progress:
        return tokenizer_class(kind).from_file(corpus, args.vocab_size, args.special, args.workers, progress.update)


def _measured(rate: TokenRate, tokenizer: Tokenizer) -> str:
    sample = "" if rate.sampled is None else f"{rate.sampled} of {rate.documents} documents: "
    figures = f"{rate.num_tokens} tokens, {rate.num_bytes} bytes: {rate.bytes_per_token:.2f} bytes per token"
    return f"{sample}{figures}; {tokenizer.vocab_size} tokens in the vocabulary"


def show_tokens(tokenizer: Tokenizer, text: str, in_color: bool) -> str:
    """Return a text as tokens, in colors or in brackets, and ids, with its bytes per token.

    >>> print(show_tokens(tokenizer_class("char").from_text("ab"), "ba", in_color=False))
    pieces  [b][a]
    ids     1 0
    2 tokens, 2 bytes: 1.00 bytes per token; 2 tokens in the vocabulary
    """
    ids = tokenizer.encode(text)
    tokens = tokenizer.shown(ids)
    if in_color:
        shown = "".join(f"{_COLORS[i % len(_COLORS)]}{token}{_PLAIN}" for i, token in enumerate(tokens))
    else:
        shown = "".join(f"[{token}]" for token in tokens)
    size = len(text.encode("utf-8"))
    rate = f"{size / len(ids):.2f}" if ids else "no"
    return (
        f"pieces  {shown}\nids     {' '.join(map(str, ids))}\n"
        f"{len(ids)} tokens, {size} bytes: {rate} bytes per token; {tokenizer.vocab_size} tokens in the vocabulary"
    )


def show_merges(tokenizer: Tokenizer, word: str) -> str:
    """Return the merges that made one word, step by step; errors as in Tokenizer.merge_steps.

    >>> print(show_merges(tokenizer_class("bpe").from_text("hug pug hug", 258), "hug"))
    start          h u g
    merge 0        h ug  (u + g)
    merge 1        hug  (h + ug)
    """
    steps = tokenizer.merge_steps(word)
    lines = [f"start          {' '.join(spell(bytes([byte])) for byte in word.encode('utf-8'))}"]
    for step in steps:
        left, right = map(spell, step.merge)
        lines.append(f"merge {step.rank:<8} {' '.join(map(spell, step.tokens))}  ({left} + {right})")
    return "\n".join(lines)
