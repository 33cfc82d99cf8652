"""data.py - ``toy-gpt data``: get a text, cut it down, turn it into numbers and back."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import LessonFormatter
from toy_gpt_train.data.catalogue import CATALOGUE, find_source
from toy_gpt_train.data.fetch import Patience, fetch
from toy_gpt_train.data.hub import hub_texts
from toy_gpt_train.data.parquet import parquet_texts, write_texts
from toy_gpt_train.data.sample import sample_lines, text_lines
from toy_gpt_train.data.stdlib import collect_stdlib
from toy_gpt_train.data.token_file import HEADER_SIZE, decode_file, encode_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import Progress
from toy_gpt_train.show import say, table
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.listed import ListedTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

_LISTED: Final[dict[str, type[ListedTokenizer]]] = {"word": WordTokenizer, "char": CharTokenizer}

HELP: Final = "get text to learn from, and turn it into token ids"
LESSON: Final = """Each SOURCE explains itself:  toy-gpt data sample --help"""

# What each --help says below its options: what it is for, and a line to type.
FETCH: Final = """The file is accepted only if its size and sha256 are right. An interrupted download leaves
NAME.part, and the next one resumes there. Without a NAME, the known texts are listed.

example:  toy-gpt data fetch tiny-shakespeare --out shakespeare.txt"""
STDLIB: Final = """Tens of megabytes of real text without a network: the source code of Python's own library.

example:  toy-gpt data stdlib --out python.txt --megabytes 1"""
SAMPLE: Final = """A model that cannot learn a sample will not learn the whole text, and a sample is quicker. The text
is read once. --lines holds K lines in memory, and every set of K lines is equally likely; --fraction holds one line in
memory, and decides for each line on its own. Lines come out in the order of the file.

example:  toy-gpt data sample --text names.txt --lines 1000 --seed 1 --out some.txt"""
PARQUET: Final = """Large text datasets come as parquet files: tables stored column by column. One column becomes one
text file, with a few rows in memory at a time; missing values are skipped.
Needs: pip install "toy-gpt-train[data]"

example:  toy-gpt data parquet part-0.parquet part-1.parquet --column text --out all.txt"""
HUB: Final = """Rows are streamed, so --limit 1000 downloads a thousand rows, not the whole dataset. NAME is the name on
the hub (owner/name), or a folder of data files. A dataset's page says what you may do with it: read it first.
Needs: pip install "toy-gpt-train[data]"

example:  toy-gpt data hub roneneldan/TinyStories --column text --limit 1000 --out stories.txt"""
VOCABULARY: Final = """A tokenizer must know its tokens before it can number them. This one knows exactly the tokens of
a text, numbered in sorted order. encode and decode read its folder.

example:  toy-gpt data vocabulary --text names.txt --kind char --out chars"""
ENCODE: Final = f"""The text is tokenized once, and training then reads numbers. A token file is a header of
{HEADER_SIZE} bytes and the ids, little-endian, 2 bytes each (4 if the vocabulary is larger than 65,536):

    ids = numpy.fromfile("names.tokens", dtype="<u2", offset={HEADER_SIZE})

example:  toy-gpt data encode --text names.txt --tokenizer chars --out names.tokens"""
DECODE: Final = """What is left of the text? Characters and byte-level BPE restore it exactly; words come back with
single spaces between them. A file that another tokenizer wrote is refused.

example:  toy-gpt data decode --tokens names.tokens --tokenizer chars --text-check --out same.txt"""

Handler = Callable[[argparse.Namespace], int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every command of ``toy-gpt data`` to its parser."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    def add(name: str, summary: str, lesson: str, handler: Handler, **out: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = sources.add_parser(
            name, help=summary, description=summary, epilog=lesson, formatter_class=LessonFormatter
        )
        parser.set_defaults(handler=handler)
        parser.add_argument("--out", type=Path, **{"required": True, "metavar": "FILE", **out})
        return parser

    to_text = {"help": "the text file to write"}
    _add_fetch(add)

    summary = "collect the running interpreter's own library sources into one text file"
    library = add("stdlib", summary, STDLIB, _stdlib, **to_text)
    library.add_argument("--megabytes", type=float, metavar="M", help="stop after M million bytes (default: all of it)")

    draw = add("sample", "draw lines of a text at random", SAMPLE, _sample, **to_text)
    draw.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to draw from")
    amount = draw.add_mutually_exclusive_group(required=True)
    amount.add_argument("--lines", type=int, metavar="K", help="draw exactly K lines (all of them if there are fewer)")
    amount.add_argument("--fraction", type=float, metavar="F", help="keep each line with probability F")
    draw.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same lines (default: 0)")

    columns = add("parquet", "extract a column of texts from parquet files", PARQUET, _parquet, **to_text)
    columns.add_argument("files", nargs="+", type=Path, metavar="PARQUET", help="the files, in this order")
    _add_column(columns)

    dataset = add("hub", "extract texts from a dataset of the Hugging Face hub", HUB, _hub, **to_text)
    dataset.add_argument("name", metavar="NAME", help="the dataset, or a folder of data files")
    dataset.add_argument("--config", metavar="C", help="which version of the dataset, if it has several")
    dataset.add_argument("--split", default="train", metavar="S", help="which part of it (default: %(default)s)")
    dataset.add_argument("--limit", type=int, metavar="N", help="stop after N texts (default: all)")
    _add_column(dataset)

    _add_ids(add)


def _add_fetch(add: Callable[..., argparse.ArgumentParser]) -> None:
    get = add(
        "fetch",
        "download a well-known text, and check it",
        FETCH,
        _fetch,
        required=False,
        help="the file to write (default: NAME.txt, here)",
    )
    get.add_argument("name", nargs="?", metavar="NAME", help="the text (default: list them)")
    get.add_argument("--url", metavar="URL", help="fetch it from here; it must be the same text")
    get.add_argument(
        "--min-speed",
        type=float,
        default=Patience.min_speed / 1000,
        metavar="KB",
        help="give up an attempt that is slower, in KB per second over 30 seconds (default: %(default)g)",
    )
    get.add_argument(
        "--deadline",
        type=float,
        default=Patience.deadline,
        metavar="S",
        help="give up after S seconds in all; the next try resumes there (default: %(default)g)",
    )
    get.add_argument("--force", action="store_true", help="replace a file that has other content")


def _add_ids(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands between text and token ids."""
    learn = add(
        "vocabulary",
        "number the words or characters of a text: a tokenizer in a folder",
        VOCABULARY,
        _vocabulary,
        metavar="FOLDER",
        help="the folder to write the tokenizer to",
    )
    learn.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text whose tokens get an id")
    learn.add_argument("--kind", choices=_LISTED, required=True, help="what a token is")

    encode = add("encode", "turn a text into a file of token ids", ENCODE, _encode, help="the token file to write")
    encode.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to encode")
    _add_tokenizer(encode)

    decode = add("decode", "turn a file of token ids back into text", DECODE, _decode, help="the text file to write")
    decode.add_argument("--tokens", type=Path, required=True, metavar="FILE", help="the token file")
    _add_tokenizer(decode)
    decode.add_argument(
        "--text-check", action="store_true", help="refuse unless it is the text that was encoded (char and bpe only)"
    )


def _add_column(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--column", required=True, metavar="COLUMN", help="the column that holds the texts")
    parser.add_argument(
        "--separator",
        default=r"\n\n",
        metavar="TEXT",
        help=r"what to write between two texts; \n is a line end, \t a tab (default: a blank line)",
    )


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a saved tokenizer: toy_tokenizer.json, or vocab.json and merges.txt",
    )


def _fetch(args: argparse.Namespace) -> int:
    if args.name is None:
        rows = [[source.name, source.size, source.about] for source in CATALOGUE]
        say(table(["name", "bytes", "what it is"], rows))
        return 0
    source = find_source(args.name)
    out = Path(f"{source.name}.txt") if args.out is None else args.out
    patience = Patience(min_speed=args.min_speed * 1000, deadline=args.deadline)
    with closing(Progress(f"fetching {source.name}")) as progress:
        fetched = fetch(source, out, url=args.url, force=args.force, patience=patience, on_progress=progress.update)
    say(f"{out}: {source.size} bytes, {'fetched' if fetched else 'there already'}")
    return 0


def _stdlib(args: argparse.Namespace) -> int:
    written = collect_stdlib(args.out, args.megabytes)
    say(f"{args.out}: {written} bytes")
    return 0


def _sample(args: argparse.Namespace) -> int:
    kept = sample_lines(args.text, args.out, lines=args.lines, fraction=args.fraction, seed=args.seed)
    say(f"{args.out}: {kept} lines")
    return 0


def _parquet(args: argparse.Namespace) -> int:
    return _write_texts(args, parquet_texts(args.files, args.column))


def _hub(args: argparse.Namespace) -> int:
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    with closing(hub_texts(args.name, args.column, config=args.config, split=args.split)) as texts:
        return _write_texts(args, islice(texts, args.limit))


def _write_texts(args: argparse.Namespace, texts: Iterable[str]) -> int:
    separator = args.separator.replace(r"\n", "\n").replace(r"\t", "\t")
    count, size = write_texts(args.out, texts, separator)
    say(f"{args.out}: {count} texts, {size} bytes")
    return 0


def _vocabulary(args: argparse.Namespace) -> int:
    tokenizer = _LISTED[args.kind].from_lines(text_lines(args.text))
    if tokenizer.vocab_size == 0:
        raise InputError(f"{args.text}: the text is empty: there is no token in it")
    tokenizer.save(args.out)
    say(f"{args.out}: {tokenizer.vocab_size} tokens")
    return 0


def _encode(args: argparse.Namespace) -> int:
    with closing(Progress(f"encoding {args.text.name}")) as progress:
        count, bits = encode_file(args.text, args.tokenizer, args.out, progress.update)
    say(f"{args.out}: {count} tokens of {bits} bits")
    return 0


def _decode(args: argparse.Namespace) -> int:
    size = decode_file(args.tokens, args.tokenizer, args.out, text_check=args.text_check)
    say(f"{args.out}: {size} bytes")
    return 0
