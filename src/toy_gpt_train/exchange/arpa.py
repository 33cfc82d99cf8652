r"""arpa.py - ARPA files: counted n-grams with back-off weights, as KenLM, SRILM and others write and read them.

    # toy-gpt {"kind": "word"}          which tokenizer the tokens are of; other readers skip this line
    \data\
    ngram 1=4                           how many n-grams there are of each length
    ngram 2=1

    \1-grams:
    -0.30103    the -0.1                log10 of the probability, the n-gram, log10 of its weight as a context
    …
    \end\

A file that is written here has no sentences and no unknown words: the marks never happen. Its tokens are in the order
of their ids, and its first line describes their tokenizer, so it comes back as it was.

In a file of other software, words are tokens. A sentence begins where another ended, so <s> and </s> are one token, and
it is called </s>: as the next token it ends a sentence, in a context it begins one. <unk> is a token like others.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from toy_gpt_train.artifacts.metadata import imported_meta
from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.arpa_tokens import (
    BEGIN,
    END,
    MARKS,
    UNKNOWN,
    described,
    description_of,
    escape,
    unescape,
)
from toy_gpt_train.files import parse_json_object
from toy_gpt_train.models.backoff import ZERO, Backoff, ngrams_name
from toy_gpt_train.models.base import MAX_VOCABULARY, NGrams
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class

_DATA: Final = "\\data\\"
_END: Final = "\\end\\"
_ORIGIN: Final = "# toy-gpt "
_MOST_LENGTHS: Final = 100
_LONGEST_LINE: Final = 1 << 24  # bytes
_COUNT: Final = re.compile(r"ngram[ \t]*([0-9]{1,4})[ \t]*=[ \t]*([0-9]{1,18})")
_FIELD: Final = re.compile(r"[^ \t\r\n]+")  # WHY not split(): it takes other white space for space, too


# --- writing ------------------------------------------------------------------------------------------------


def write(run: SavedRun, out: Path) -> list[Path]:
    """Write a model that is a list of n-grams, or can be said as one; return the path.

    InputError if it cannot.
    """
    try:
        lengths = run.model.ngrams()
    except InputError as error:
        raise InputError(f"an ARPA file cannot express {run.meta['model_kind']}: {error}") from error
    with whole_file(out) as file:
        file.writelines(line.encode("utf-8") for line in _lines(run.tokenizer, lengths))
    return [out]


def _lines(tokenizer: Tokenizer, lengths: NGrams) -> Iterator[str]:
    yield f"{_ORIGIN}{json.dumps(description_of(tokenizer))}\n{_DATA}\n"
    for length, (size, _) in enumerate(lengths, start=1):
        yield f"ngram {length}={size + len(MARKS) * (length == 1)}\n"
    words = list(map(escape, tokenizer.tokens))
    for length, (_, rows) in enumerate(lengths, start=1):
        yield f"\n\\{length}-grams:\n"
        if length == 1:
            yield from (f"{ZERO:.0f}\t{mark}\n" for mark in MARKS)
        for *ids, log, weight in rows:
            # WHY nine digits: KenLM's numbers have seven.
            weighed = f"\t{weight:.9g}" if weight else ""
            yield f"{log:.9g}\t{' '.join([words[i] for i in ids])}{weighed}\n"
    yield f"\n{_END}\n"


# --- reading ------------------------------------------------------------------------------------------------


def read(path: Path) -> SavedRun:
    """Read an ARPA file, its n-grams in any order; memory holds the model, and its words once more.

    InputError, which names the line, if it is damaged or cut off.
    """
    with path.open("rb") as file:
        reader = _Reader(path, file)
        try:
            description, sizes = reader.header()
            unigrams = reader.unigrams(sizes[0])
            tokenizer, ids = _vocabulary(unigrams, description, path)
            model = Backoff(tokenizer.vocab_size, len(sizes) - 1)
            rows: dict[str, Iterable[tuple[Any, ...]]] = {
                ngrams_name(length): reader.rows(length, size, ids) for length, size in enumerate(sizes, start=1)
            }
            rows[ngrams_name(1)] = ((ids[word], *numbers) for word, numbers in unigrams.items())
            model.load_tables(rows)
            reader.finish()
        except ValueError as error:
            located = isinstance(error, InputError) and str(error).startswith(str(path))
            raise InputError(str(error) if located else f"{reader.where} {error!s:.300}") from error
    special = [token for token in tokenizer.special if token == END]
    meta = imported_meta("an ARPA file", "back-off", tokenizer, model.context_size)
    # The file itself is what is known of the text.
    about = {"filename": path.name, "sha256": reader.hash.hexdigest(), "num_chars": reader.size}
    meta = {**meta, "corpus": meta["corpus"] | about, "start_tokens": special[: model.context_size]}
    return SavedRun(meta, tokenizer, [0] * model.vocab_size, model, [])


def _vocabulary(
    unigrams: dict[str, tuple[float, float]], description: Mapping[str, Any] | None, path: Path
) -> tuple[Tokenizer, dict[str, int]]:
    """Return the tokenizer, and the id of each word; marks that are no tokens leave the unigrams."""
    marks = {mark: unigrams.pop(mark) for mark in MARKS if mark in unigrams}
    if description is not None:
        ids = {word: token_id for token_id, word in enumerate(unigrams)}
        return described(list(map(unescape, unigrams)), description, path), ids
    if UNKNOWN in marks:
        unigrams[UNKNOWN] = marks[UNKNOWN]
    special = [END] if marks.keys() & {BEGIN, END} else []
    if special:
        unigrams[END] = marks.get(END, (ZERO, 0.0))[0], marks.get(BEGIN, (ZERO, 0.0))[1]
    tokens = sorted(unigrams)
    ids = {word: token_id for token_id, word in enumerate(tokens)}
    if special:
        ids[BEGIN] = ids[END]
    return tokenizer_class("word").from_vocabulary(tokens, path.parent, special), ids


class _Reader:
    """Reads an ARPA file line by line, and knows where it is."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.hash = sha256()
        self.size = 0  # bytes
        self.where = f"{path}:"  # and the line that was read last
        self._path = path
        self._lines = self._read(file)
        self._section = ""  # the line with a backslash that was read last

    def _read(self, file: BinaryIO) -> Iterator[str]:
        """Yield the lines that are not blank."""
        for number in range(1, 1 << 62):
            if not (line := file.readline(_LONGEST_LINE + 1)):
                return
            self.where = f"{self._path}, line {number}:"
            self.hash.update(line)
            self.size += len(line)
            if len(line) > _LONGEST_LINE:
                raise ValueError("the line is too long")
            if text := line.decode("utf-8").strip(" \t\r\n"):
                yield text

    def _entries(self) -> Iterator[str]:
        """Yield the lines up to the next section."""
        for line in self._lines:
            if line.startswith("\\"):
                self._section = line
                return
            yield line
        raise ValueError(f"the file is cut off: there is no {_END}")

    def header(self) -> tuple[dict[str, Any] | None, list[int]]:
        """Return the tokenizer's description, if the file has one, and how many n-grams there are of each length."""
        description = None
        for line in self._lines:
            if line == _DATA:
                break
            if line.startswith(_ORIGIN):
                description = parse_json_object(line.removeprefix(_ORIGIN), self._path)
        else:
            raise ValueError(f"there is no {_DATA}, so this is not an ARPA file")
        sizes: list[int] = []
        for line in self._entries():
            count = _COUNT.fullmatch(line)
            if count is None or int(count[1]) != len(sizes) + 1 or len(sizes) == _MOST_LENGTHS:
                raise ValueError(f"not how many {len(sizes) + 1}-grams there are, of at most {_MOST_LENGTHS}-grams")
            sizes.append(int(count[2]))
        if not sizes or sizes[0] > MAX_VOCABULARY:
            raise ValueError(f"there must be 1 to {MAX_VOCABULARY} 1-grams")
        return description, sizes

    def _ngrams(self, length: int, size: int) -> Iterator[tuple[list[str], float, float]]:
        """Yield the n-grams of a length: words, probability, weight."""
        if self._section != f"\\{length}-grams:":
            raise ValueError(f"{self._section!r:.60} where \\{length}-grams: should be")
        count = 0
        for line in self._entries():
            count += 1
            log, *words = _FIELD.findall(line)
            weight = words.pop() if len(words) == length + 1 else "0"
            if len(words) != length or count > size:
                raise ValueError(f"not {length} words between one or two numbers, or more {length}-grams than {size}")
            yield words, float(log), float(weight)
        if count < size:
            raise ValueError(f"{count} {length}-grams, but the header says {size}")

    def unigrams(self, size: int) -> dict[str, tuple[float, float]]:
        """Return the probability and the weight of each word."""
        found: dict[str, tuple[float, float]] = {}
        for (word,), *numbers in self._ngrams(1, size):
            if word in found:
                raise ValueError(f"the word {word!r:.60} occurs twice")
            found[word] = numbers[0], numbers[1]
        return found

    def rows(self, length: int, size: int, ids: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
        """Yield n-grams as Backoff.load_tables() takes them, without those that nobody can ask for."""
        for words, log, weight in self._ngrams(length, size):
            if unknown := [word for word in words if word not in ids]:
                if not {*MARKS}.issuperset(unknown):
                    raise ValueError(f"{unknown[0]!r:.60} is not among the 1-grams")
            elif words[-1] != BEGIN and END not in words[:-1]:
                yield (*map(ids.__getitem__, words), log, weight)

    def finish(self) -> None:
        """Check that this is the end."""
        if self._section != _END or next(self._lines, None) is not None:
            raise ValueError(f"there is more than the header says, or no {_END}")
