"""vocabulary.py - 01_vocabulary.csv: ``token_id,token,frequency``, ids 0 to V-1 in order."""

from collections.abc import Sequence
from pathlib import Path

from toy_gpt_train.artifacts.csv_files import csv_line, parse_int, read_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import VOCABULARY_HEADER


def write_vocabulary(path: Path, tokens: Sequence[str], frequencies: Sequence[int]) -> None:
    """Write the tokens by id, each with its frequency in the training text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(VOCABULARY_HEADER))
        for token_id, (token, frequency) in enumerate(zip(tokens, frequencies, strict=True)):
            file.write(csv_line([token_id, token, frequency]))


def read_vocabulary(path: Path, vocab_size: int, most_bytes: int) -> tuple[list[str], list[int]]:
    """Return the tokens by id, and their frequencies; InputError if the file is damaged or too large."""
    if path.stat().st_size > most_bytes:
        raise InputError(f"{path}: more than {most_bytes} bytes, too large for the vocabulary of this text")
    frequencies: dict[str, int] = {}
    for line, (id_text, token, frequency) in read_csv(path, VOCABULARY_HEADER, most_bytes):
        where = f"{path}, line {line}:"
        if parse_int(id_text, f"{where} token_id") != len(frequencies):
            raise InputError(f"{where} token_id is {id_text}, not {len(frequencies)}")
        if token in frequencies:
            raise InputError(f"{where} token {token[:40]!r} occurs twice")
        if len(frequencies) == vocab_size:
            raise InputError(f"{path}: more than the {vocab_size} tokens that the metadata says")
        frequencies[token] = parse_int(frequency, f"{where} frequency")
    if len(frequencies) != vocab_size:
        raise InputError(f"{path}: {len(frequencies)} tokens where the metadata says {vocab_size}")
    return list(frequencies), list(frequencies.values())
