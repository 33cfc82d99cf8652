r"""arpa_tokens.py - Tokens as the words of an ARPA file, and their tokenizer as a line that other readers skip.

Concepts:
    marks: <s> begins a sentence, </s> ends it, <unk> is any word that is not in the list.
    escape: in a token, white space, control characters and the backslash are written as in Python: \x20, \u2028, \\;
        a token that is spelled like a mark begins with \x3c.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import TOKENIZERS, Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.bpe_files import MERGES_NAME, parse_merges, parse_vocab

BEGIN: Final = "<s>"
END: Final = "</s>"
UNKNOWN: Final = "<unk>"
MARKS: Final = (BEGIN, END, UNKNOWN)
_UNSAFE: Final = re.compile(r"[\\\s\x00-\x1f\x7f-\x9f]")
_ESCAPED: Final = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))")


def escape(token: str) -> str:
    r"""Write a token as a word without white space that is no mark.

    Example:
        >>> [escape(token) for token in ("the", " ", "\u2028", "\\", "<s>")]
        ['the', '\\x20', '\\u2028', '\\\\', '\\x3cs>']
    """
    if token.lower() in MARKS:  # KenLM takes <UNK> for <unk>
        return rf"\x3c{token[1:]}"
    return _UNSAFE.sub(lambda found: _escaped(found[0]), token)


def _escaped(char: str) -> str:
    return r"\\" if char == "\\" else rf"\x{ord(char):02x}" if ord(char) < 256 else rf"\u{ord(char):04x}"


def unescape(word: str) -> str:
    r"""Undo escape().

    Example:
        >>> unescape("\\x20the\\\\")
        ' the\\'
    """
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or "5c", 16)), word)


def description_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return all of a tokenizer but its tokens: its kind, special tokens and merges; InputError if that is not all."""
    _known_class(tokenizer.kind)
    merges = tokenizer.files().get(MERGES_NAME, "").splitlines()[1:]
    return tokenizer.description() | ({"merges": merges} if merges else {})


def described(tokens: Sequence[str], description: Mapping[str, Any], path: Path) -> Tokenizer:
    """Return the tokenizer of these tokens by id; InputError, which names the path, if the description is damaged."""
    special, merges = description.get("special", []), description.get("merges", [])
    for texts in (special, merges):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: its first line does not describe a tokenizer")
    known = _known_class(description.get("kind"))
    if known.kind != "bpe":
        return known.from_vocabulary(tokens, path.parent, special)
    from toy_gpt_train.tokenizers.bpe import BPETokenizer  # WHY here: see TOKENIZERS

    ids = {token: token_id for token_id, token in enumerate(tokens)}
    vocab = parse_vocab(ids, dict.fromkeys(special), path)
    return BPETokenizer(vocab, parse_merges(((f"{path}:", merge) for merge in merges), vocab), special)


def _known_class(kind: Any) -> type[Tokenizer]:
    found = tokenizer_class(kind)
    if kind not in TOKENIZERS:  # it would look for files of its own
        raise InputError(f"an ARPA file cannot express how a {kind} tokenizer cuts text")
    return found
