"""views.py - One history, seen in different ways.

The next token may depend on the last three tokens, on the word so far and the word before it, or on the length of the
line so far. Each of these is a view: a value for every position of a text, computed from the tokens before it.

REQ: a view depends only on the last 64 tokens, so a window of the text gives the same views as all of it.
"""

from collections.abc import Mapping, Sequence
from sys import maxunicode
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.ngram_trie import as_text

LOOK_BACK: Final = 64
LONGEST_LAG: Final = 8

# WHY limits: to stay within 64 tokens, a word is known by its last 16 letters, and forgotten if it ended too long ago.
_WORD_LETTERS: Final = 16
_WORD_REACH: Final = 32
_SECOND_WORD_REACH: Final = 47
_LAST_COLUMN: Final = 60
_COLUMN_STEP: Final = 4

LAGS: Final = tuple(f"lag_{k}" for k in range(1, LONGEST_LAG + 1))
TEXT_VIEWS: Final = ("prefix", "word_1", "word_2")


class Views:
    """Computes the views of a text from the vocabulary's tokens, by id.

    A view is a string with one code point per position, so several views of a position, joined, are a context. There
    are views of words if all tokens are single characters, with letters among them (``are_characters``).
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        # WHY two more: an unknown token has id V, and V + 1 stands before the text.
        self._tokens = [*tokens, "", ""]
        self.are_characters = all(len(token) == 1 for token in tokens) and any(map(str.isalpha, tokens))
        self._codes: dict[str, str] = {}

    def code(self, text: str) -> str:
        """Return the code point that stands for a prefix or a word; a new one the first time it is met."""
        found = self._codes.get(text)
        if found is None:
            if len(self._codes) > maxunicode:
                raise InputError(f"the text has more than {maxunicode + 1} different words and beginnings of words")
            found = self._codes[text] = chr(len(self._codes))
        return found

    def text_of_code(self) -> dict[str, str]:
        """Return the prefixes and words by code point."""
        return {code: text for text, code in self._codes.items()}

    def in_order(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Return columns of a text again, after the prefixes and words got new code points, in sorted order.

        WHY: what is saved depends on the words of a text then, and not on which of them came first.
        """
        ordered = {text: chr(number) for number, text in enumerate(sorted(self._codes))}
        table = {ord(self._codes[text]): code for text, code in ordered.items()}
        self._codes = ordered
        return {name: view.translate(table) if name in TEXT_VIEWS else view for name, view in columns.items()}

    def columns(self, token_ids: Sequence[int]) -> dict[str, str]:
        """Return every view of T token ids, by name: T + 1 code points, before each token and after the last."""
        text = as_text(token_ids)
        before = chr(len(self._tokens) - 1)
        size = len(text) + 1
        views = {name: (before * k + text)[:size] for k, name in enumerate(LAGS, start=1)}
        if self.are_characters:
            views.update(self._word_views(token_ids))
        return views

    def _word_views(self, token_ids: Sequence[int]) -> dict[str, str]:
        code, tokens = self.code, self._tokens
        prefix, word_1, word_2, column = [code("")], [code("")], [code("")], [chr(0)]
        part = last = second = ""
        last_end = second_end = -LOOK_BACK
        column_now = 0
        for position, token_id in enumerate(token_ids, start=1):
            character = tokens[token_id]
            if character.isalpha() or character == "'":
                part = (part + character.lower())[-_WORD_LETTERS:]
            elif part:
                part, last, second = "", part, last
                last_end, second_end = position - 1, last_end
            column_now = 0 if character == "\n" else column_now + 1
            prefix.append(code(part))
            word_1.append(code(last if position - last_end <= _WORD_REACH else ""))
            word_2.append(code(second if position - second_end <= _SECOND_WORD_REACH else ""))
            column.append(chr(min(column_now, _LAST_COLUMN) // _COLUMN_STEP))
        joined = ("".join(view) for view in (prefix, word_1, word_2, column))
        return dict(zip((*TEXT_VIEWS, "column"), joined, strict=True))
