"""data.py - ``toy-gpt data``: get a text, cut it down, turn it into numbers and back."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
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
from toy_gpt_train.world.text import write_world

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

WORLD: Final = """A small language made for measuring. Two children go, give, take, paint and hide, and a wish comes
true. Everything said follows from what was told before. The stories are drawn at random with known probabilities, so
their true entropy is known too, and no model can get below it. --truth has one row per token: the kind of knowledge it
takes, the distance to the fact it needs, and its surprise.

example:  toy-gpt data world --tokens 400000 --seed 1 --out world.txt --truth truth.csv"""


def _fetch(args: argparse.Namespace) -> str:
    if args.name is None:
        rows = [[source.name, source.size, source.about] for source in CATALOGUE]
        return table(["name", "bytes", "what it is"], rows)
    source = find_source(args.name)
    out = Path(f"{source.name}.txt") if args.out is None else args.out
    patience = Patience(min_speed=args.min_speed * 1000, deadline=args.deadline)
    with closing(Progress(f"fetching {source.name}")) as progress:
        fetched = fetch(source, out, url=args.url, force=args.force, patience=patience, on_progress=progress.update)
    return f"{out}: {source.size} bytes, {'fetched' if fetched else 'there already'}"


def _stdlib(args: argparse.Namespace) -> str:
    return f"{args.out}: {collect_stdlib(args.out, args.megabytes)} bytes"


def _sample(args: argparse.Namespace) -> str:
    kept = sample_lines(args.text, args.out, lines=args.lines, fraction=args.fraction, seed=args.seed)
    return f"{args.out}: {kept} lines"


def _parquet(args: argparse.Namespace) -> str:
    return _write_texts(args, parquet_texts(args.files, args.column))


def _hub(args: argparse.Namespace) -> str:
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    with closing(hub_texts(args.name, args.column, config=args.config, split=args.split)) as texts:
        return _write_texts(args, islice(texts, args.limit))


def _write_texts(args: argparse.Namespace, texts: Iterable[str]) -> str:
    separator = args.separator.replace(r"\n", "\n").replace(r"\t", "\t")
    count, size = write_texts(args.out, texts, separator)
    return f"{args.out}: {count} texts, {size} bytes"


def _vocabulary(args: argparse.Namespace) -> str:
    tokenizer = _LISTED[args.kind].from_lines(text_lines(args.text))
    if tokenizer.vocab_size == 0:
        raise InputError(f"{args.text}: the text is empty: there is no token in it")
    tokenizer.save(args.out)
    return f"{args.out}: {tokenizer.vocab_size} tokens"


def _encode(args: argparse.Namespace) -> str:
    with closing(Progress(f"encoding {args.text.name}")) as progress:
        count, bits = encode_file(args.text, args.tokenizer, args.out, progress.update)
    return f"{args.out}: {count} tokens of {bits} bits"


def _decode(args: argparse.Namespace) -> str:
    return f"{args.out}: {decode_file(args.tokens, args.tokenizer, args.out, text_check=args.text_check)} bytes"


def _world(args: argparse.Namespace) -> str:
    with closing(Progress("telling stories")) as progress:
        written = write_world(args.out, args.tokens, args.seed, args.truth, progress.update)
    entropy = f"true entropy {written.true_entropy:.4f} nats per token"
    return f"{args.out}: {written.tokens} tokens, {written.stories} stories, {entropy}"


# Each command: what it does, its line of help, and its lesson.
_COMMANDS: Final = {
    "fetch": (_fetch, "download a well-known text, and check it", FETCH),
    "stdlib": (_stdlib, "collect the running interpreter's own library sources into one text file", STDLIB),
    "sample": (_sample, "draw lines of a text at random", SAMPLE),
    "parquet": (_parquet, "extract a column of texts from parquet files", PARQUET),
    "hub": (_hub, "extract texts from a dataset of the Hugging Face hub", HUB),
    "vocabulary": (_vocabulary, "number the words or characters of a text: a tokenizer in a folder", VOCABULARY),
    "encode": (_encode, "turn a text into a file of token ids", ENCODE),
    "decode": (_decode, "turn a file of token ids back into text", DECODE),
    "world": (_world, "write stories in a language whose true entropy is known", WORLD),
}
_ONE_OF: Final = ("--lines", "--fraction")  # exactly one of them must be given


def _value(metavar: str, meaning: str, kind: type = str, **more: Any) -> dict[str, Any]:
    return {"metavar": metavar, "help": meaning, "type": kind, **more}


def _file(meaning: str, metavar: str = "FILE") -> dict[str, Any]:
    return _value(metavar, meaning, Path, required=True)


_SPEED: Final = "give up an attempt that is slower, in KB per second over 30 seconds (default: %(default)g)"
_DEADLINE: Final = "give up after S seconds in all; the next try resumes there (default: %(default)g)"
_SEPARATOR: Final = r"what to write between two texts; \n is a line end, \t a tab (default: a blank line)"
_TOKENIZER: Final = "a saved tokenizer: toy_tokenizer.json, or vocab.json and merges.txt"
_CHECK: Final = "refuse unless it is the text that was encoded (char and bpe only)"
# The commands that have it, and an option.
_OPTIONS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("stdlib sample parquet hub decode", "--out", _file("the text file to write")),
    ("fetch", "--out", _value("FILE", "the file to write (default: NAME.txt, here)", Path)),
    ("fetch", "name", _value("NAME", "the text (default: list them)", nargs="?")),
    ("fetch", "--url", _value("URL", "fetch it from here; it must be the same text")),
    ("fetch", "--min-speed", _value("KB", _SPEED, float, default=Patience.min_speed / 1000)),
    ("fetch", "--deadline", _value("S", _DEADLINE, float, default=Patience.deadline)),
    ("fetch", "--force", {"action": "store_true", "help": "replace a file that has other content"}),
    ("stdlib", "--megabytes", _value("M", "stop after M million bytes (default: all of it)", float)),
    ("sample", "--text", _file("the text to draw from")),
    ("sample", "--lines", _value("K", "draw exactly K lines (all of them if there are fewer)", int)),
    ("sample", "--fraction", _value("F", "keep each line with probability F", float)),
    ("sample", "--seed", _value("S", "same seed, same lines (default: 0)", int, default=0)),
    ("parquet", "files", _value("PARQUET", "the files, in this order", Path, nargs="+")),
    ("hub", "name", _value("NAME", "the dataset, or a folder of data files")),
    ("hub", "--config", _value("C", "which version of the dataset, if it has several")),
    ("hub", "--split", _value("S", "which part of it (default: %(default)s)", default="train")),
    ("hub", "--limit", _value("N", "stop after N texts (default: all)", int)),
    ("parquet hub", "--column", _value("COLUMN", "the column that holds the texts", required=True)),
    ("parquet hub", "--separator", _value("TEXT", _SEPARATOR, default=r"\n\n")),
    ("vocabulary", "--out", _file("the folder to write the tokenizer to", "FOLDER")),
    ("vocabulary", "--text", _file("the text whose tokens get an id")),
    ("vocabulary", "--kind", {"choices": _LISTED, "required": True, "help": "what a token is"}),
    ("encode", "--out", _file("the token file to write")),
    ("encode", "--text", _file("the text to encode")),
    ("decode", "--tokens", _file("the token file")),
    ("encode decode", "--tokenizer", _file(_TOKENIZER, "FOLDER")),
    ("world", "--tokens", _value("N", "stop at the end of the story that reaches N tokens", int, required=True)),
    ("world", "--seed", _value("S", "same seed, same stories (default: 0)", int, default=0)),
    ("world", "--out", _value("FILE", "the text file to write (default: %(default)s)", Path, default="world.txt")),
    ("world", "--truth", _value("FILE", "a CSV file of what is true of each token", Path)),
    ("decode", "--text-check", {"action": "store_true", "help": _CHECK}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every command of ``toy-gpt data`` to its parser."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, (command, line, lesson) in _COMMANDS.items():
        added = sources.add_parser(name, help=line, description=line, epilog=lesson, formatter_class=LessonFormatter)
        added.set_defaults(handler=partial(_say_result, command))
        one_of = added.add_mutually_exclusive_group(required=True) if name == "sample" else added
        for names, option, details in _OPTIONS:
            if name in names.split():
                (one_of if option in _ONE_OF else added).add_argument(option, **details)


def _say_result(command: Callable[[argparse.Namespace], str], args: argparse.Namespace) -> int:
    say(command(args))
    return 0
