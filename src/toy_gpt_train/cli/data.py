"""data.py - ``toy-gpt data``: get a text, cut it down, turn it into numbers and back."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.cli.arguments import LessonFormatter
from toy_gpt_train.data.catalogue import CATALOGUE, source_to_fetch
from toy_gpt_train.data.documents import PER, Documents, files_below
from toy_gpt_train.data.fetch import Patience, fetch
from toy_gpt_train.data.hub import hub_texts
from toy_gpt_train.data.parquet import parquet_texts, write_texts
from toy_gpt_train.data.sample import sample_lines, text_lines
from toy_gpt_train.data.stdlib import collect_stdlib
from toy_gpt_train.data.token_file import decode_file, encode_file
from toy_gpt_train.data.token_layout import HEADER_SIZE
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
NAME.part, and the next one resumes there. Without a NAME, the known texts are listed. Any other text is fetched by
its --url with its --sha256, which its author tells you. --sha256 is also needed where the list does not know it.

examples:
  toy-gpt data fetch tiny-shakespeare --out shakespeare.txt
  toy-gpt data fetch --url https://example.org/my.txt --sha256 HASH --out my.txt"""
STDLIB: Final = """Tens of megabytes of real text without a network: the source code of Python's own library.

example:  toy-gpt data stdlib --out python.txt --megabytes 1"""
SAMPLE: Final = """A model that cannot learn a sample will not learn the whole text, and a sample is quicker. The text
is read once. --lines holds K lines in memory, and every set of K lines is equally likely; --fraction holds one line in
memory, and decides for each line on its own. Lines come out in the order of the file. --shuffle holds the sample in
memory, and every order of it is equally likely.

example:  toy-gpt data sample --text names.txt --lines 1000 --seed 1 --out some.txt"""
PARQUET: Final = """Large text datasets come as parquet files: tables stored column by column. One column becomes one
text file, with a few rows in memory at a time; missing values are skipped. Of a folder, all .parquet files in it and
below are read, in sorted order.
Needs: pip install "toy-gpt-train[data]"

example:  toy-gpt data parquet part-0.parquet part-1.parquet --column text --out all.txt"""
HUB: Final = """Rows are streamed, so --limit 1000 downloads a thousand rows, not the whole dataset. NAME is the name on
the hub (owner/name), or a folder of data files; --data-dir picks a folder inside it. A dataset's page says what you may
do with it: read it first.
Needs: pip install "toy-gpt-train[data]"

example:  toy-gpt data hub roneneldan/TinyStories --column text --limit 1000 --out stories.txt"""
VOCABULARY: Final = """A tokenizer must know its tokens before it can number them. This one knows exactly the tokens of
a text, numbered in sorted order. encode and decode read its folder.

example:  toy-gpt data vocabulary --text names.txt --kind char --out chars"""
ENCODE: Final = f"""The text is tokenized once, and training then reads numbers: toy-gpt train --tokens. A token file is
a header of {HEADER_SIZE} bytes and the ids, little-endian, 2 bytes each (4 if the vocabulary is larger than 65,536):

    ids = numpy.fromfile("names.tokens", dtype="<u2", offset={HEADER_SIZE})

--raw leaves the header out, which makes it a .bin file as other projects have them. Several texts are encoded one after
the other; of a folder, all .txt files in it and below. With --document-per, each line or file ends with the --special
token. Blank lines and empty files are no documents.

examples:
  toy-gpt data encode --text names.txt --tokenizer chars --out names.tokens
  toy-gpt data encode --text stories --tokenizer bpe --special '<|endoftext|>' --document-per file --out all.tokens"""
DECODE: Final = """What is left of the text? Characters and byte-level BPE restore it exactly; words come back with
single spaces between them. A file that another tokenizer wrote is refused.

example:  toy-gpt data decode --tokens names.tokens --tokenizer chars --text-check --out same.txt"""

WORLD: Final = """A small language made for measuring. Two children go, give, take, paint and hide, and a wish comes
true. Everything said follows from what was told before. The stories are drawn at random with known probabilities, so
their true entropy is known too, and no model can get below it. --truth has one row per token: the kind of knowledge it
takes, the distance to the fact it needs, and its surprise.

example:  toy-gpt data world --tokens 400000 --seed 1 --out world.txt --truth truth.csv"""


def _fetch(args: argparse.Namespace) -> str:
    if args.name is None and args.url is None and args.sha256 is None:
        rows = [[source.name, source.size or "unknown", source.about] for source in CATALOGUE]
        return table(["name", "bytes", "what it is"], rows)
    source = source_to_fetch(args.name, args.url, args.sha256)
    if args.name is None and args.out is None:
        raise InputError("a text without a NAME needs --out")
    out = Path(f"{source.name}.txt") if args.out is None else args.out
    patience = Patience(min_speed=args.min_speed * 1000, deadline=args.deadline)
    with closing(Progress(f"fetching {source.name}")) as progress:
        fetched = fetch(source, out, url=args.url, force=args.force, patience=patience, on_progress=progress.update)
    size = f"{source.size or out.stat().st_size} bytes"
    return f"{out}: {size}, {'fetched' if fetched else 'there already'}"


def _stdlib(args: argparse.Namespace) -> str:
    return f"{args.out}: {collect_stdlib(args.out, args.megabytes)} bytes"


def _sample(args: argparse.Namespace) -> str:
    kept = sample_lines(
        args.text, args.out, lines=args.lines, fraction=args.fraction, seed=args.seed, shuffle=args.shuffle
    )
    return f"{args.out}: {kept} lines"


def _parquet(args: argparse.Namespace) -> str:
    return _write_texts(args, parquet_texts(files_below(args.files, ".parquet"), args.column))


def _hub(args: argparse.Namespace) -> str:
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    where = {"config": args.config, "data_dir": args.data_dir, "split": args.split}
    with closing(hub_texts(args.name, args.column, **where)) as texts:
        return _write_texts(args, islice(texts, args.limit))


def _write_texts(args: argparse.Namespace, texts: Iterable[str]) -> str:
    separator = args.separator.replace(r"\n", "\n").replace(r"\t", "\t")
    count, size = write_texts(args.out, texts, separator)
    return f"{args.out}: {count} texts, {size} bytes"


def _vocabulary(args: argparse.Namespace) -> str:
    texts = files_below(args.text, ".txt")
    tokenizer = _LISTED[args.kind].from_lines(chain.from_iterable(map(text_lines, texts)), args.special)
    if tokenizer.vocab_size == 0:
        raise InputError(f"{texts[0]}: the text is empty: there is no token in it")
    tokenizer.save(args.out)
    return f"{args.out}: {tokenizer.vocab_size} tokens"


def _encode(args: argparse.Namespace) -> str:
    if (args.special is None) != (args.document_per is None):
        raise InputError("--special and --document-per go together: what ends with that token, a line or a file?")
    documents = None if args.special is None else Documents(args.document_per, args.special)
    texts = files_below(args.text, ".txt")
    with closing(Progress(f"encoding {args.text[0].name}")) as progress:
        count, bits = encode_file(texts, args.tokenizer, args.out, progress.update, raw=args.raw, documents=documents)
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


def _files(meaning: str) -> dict[str, Any]:
    return {**_file(meaning), "nargs": "+"}


_SPEED: Final = "give up an attempt that is slower, in KB per second over 30 seconds (default: %(default)g)"
_DEADLINE: Final = "give up after S seconds in all; the next try resumes there (default: %(default)g)"
_SEPARATOR: Final = r"what to write between two texts; \n is a line end, \t a tab (default: a blank line)"
_TOKENIZER: Final = "a saved tokenizer: toy_tokenizer.json, or vocab.json and merges.txt"
_SPECIAL: Final = "texts that are one token wherever they occur, such as <|endoftext|>"
_CHECK: Final = "refuse unless it is the text that was encoded (char and bpe only)"
# The commands that have it, and an option.
_OPTIONS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("stdlib sample parquet hub decode", "--out", _file("the text file to write")),
    ("fetch", "--out", _value("FILE", "the file to write (default: NAME.txt, here)", Path)),
    ("fetch", "name", _value("NAME", "the text (default: list them)", nargs="?")),
    ("fetch", "--url", _value("URL", "fetch it from here; with a NAME, it must be the same text")),
    ("fetch", "--sha256", _value("HASH", "the hash that the file must have, if the list does not know it")),
    ("fetch", "--min-speed", _value("KB", _SPEED, float, default=Patience.min_speed / 1000)),
    ("fetch", "--deadline", _value("S", _DEADLINE, float, default=Patience.deadline)),
    ("fetch", "--force", {"action": "store_true", "help": "replace a file that has other content"}),
    ("stdlib", "--megabytes", _value("M", "stop after M million bytes (default: all of it)", float)),
    ("sample", "--text", _file("the text to draw from")),
    ("sample", "--lines", _value("K", "draw exactly K lines (all of them if there are fewer)", int)),
    ("sample", "--fraction", _value("F", "keep each line with probability F", float)),
    ("sample", "--shuffle", {"action": "store_true", "help": "write the lines in random order"}),
    ("sample", "--seed", _value("S", "same seed, same lines (default: 0)", int, default=0)),
    ("parquet", "files", _value("PARQUET", "the files, or folders of them, in this order", Path, nargs="+")),
    ("hub", "name", _value("NAME", "the dataset, or a folder of data files")),
    ("hub", "--config", _value("C", "which version of the dataset, if it has several")),
    ("hub", "--data-dir", _value("DIR", "a folder inside the dataset, to read only what is in it")),
    ("hub", "--split", _value("S", "which part of it (default: %(default)s)", default="train")),
    ("hub", "--limit", _value("N", "stop after N texts (default: all)", int)),
    ("parquet hub", "--column", _value("COLUMN", "the column that holds the texts", required=True)),
    ("parquet hub", "--separator", _value("TEXT", _SEPARATOR, default=r"\n\n")),
    ("vocabulary", "--out", _file("the folder to write the tokenizer to", "FOLDER")),
    ("vocabulary", "--text", _files("the texts whose tokens get an id, or folders of them")),
    ("vocabulary", "--kind", {"choices": _LISTED, "required": True, "help": "what a token is"}),
    ("vocabulary", "--special", {"metavar": "TEXT", "nargs": "+", "default": [], "help": _SPECIAL}),
    ("encode", "--out", _file("the token file to write")),
    ("encode", "--text", _files("the texts to encode, or folders of them")),
    ("encode", "--document-per", {"choices": PER, "help": "what a document is, which ends with the --special token"}),
    ("encode", "--special", _value("TEXT", "the token at the end of a document, such as <|endoftext|>")),
    ("encode", "--raw", {"action": "store_true", "help": "write the ids only, with no header"}),
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
