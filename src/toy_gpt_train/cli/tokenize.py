"""tokenize.py - ``toy-gpt tokenize``: a text cut into tokens, their ids, and the merges that made a word."""

import argparse
import sys
from pathlib import Path
from typing import Final

from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.show import say
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, TOKENIZERS, Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.bpe_files import spell
from toy_gpt_train.tokenizers.saved import load_tokenizer

HELP: Final = "show how a text is cut into tokens, and the merges that made a word"
LESSON: Final = """A model never sees letters, only the ids of tokens. Byte-level BPE begins with single bytes, and
merges the pair that comes most often, again and again. --word shows how one word grows together.

examples:
  toy-gpt tokenize --text "The dog jumped over the river."
  toy-gpt tokenize --word " garden"
  toy-gpt tokenize --tokenizer word --corpus my.txt --text garden"""
_CORPUS: Final = RESOURCE_ROOT / "corpus" / "030_stories.txt"
_TEXT: Final = "Mina had a small garden behind the house."

_COLORS: Final = ("\033[30;46m", "\033[30;43m", "\033[30;42m", "\033[30;45m")
_PLAIN: Final = "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt tokenize`` to its parser, and its handler."""
    parser.add_argument("--tokenizer", choices=TOKENIZERS, default="bpe", help="what a token is (default: %(default)s)")
    parser.add_argument(
        "--corpus", type=Path, default=_CORPUS, metavar="PATH", help="the text to learn from (default: the stories)"
    )
    parser.add_argument(
        "--vocab-size", type=int, default=DEFAULT_VOCAB_SIZE, metavar="V", help="stop merging at V tokens (bpe only)"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="read a saved tokenizer instead of learning one")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", metavar="TEXT", default=_TEXT, help="the text to cut")
    text.add_argument("--file", type=Path, metavar="FILE", help="a file with the text to cut")
    parser.add_argument("--word", metavar="WORD", help="show the merges that made this word, step by step")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the tokenizer to this folder")
    parser.set_defaults(handler=_tokenize)


def _tokenize(args: argparse.Namespace) -> int:
    if args.folder is not None:
        tokenizer = load_tokenizer(args.folder)
    else:
        tokenizer = tokenizer_class(args.tokenizer).from_text(read_corpus(args.corpus).text, args.vocab_size)
    text = args.text if args.file is None else read_corpus(args.file).text
    shown = [show_tokens(tokenizer, text, in_color=sys.stdout.isatty())]
    if args.word is not None:
        shown.append(show_merges(tokenizer, args.word))
    say("\n".join(shown), raw=True)  # tokens are escaped, and the colors are ours
    if args.save is not None:
        tokenizer.save(args.save)
        say(f"written   to {args.save}")
    return 0


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
