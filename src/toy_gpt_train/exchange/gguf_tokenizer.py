"""gguf_tokenizer.py - The tokenizer in a GGUF file: which one of llama.cpp's to use, with which tokens.

REQ: the ids of a text are ours. What llama.cpp cannot do is refused.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; llama.cpp's own code for its tokenizers.
"""

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Final, cast

from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.marks import begin_and_end
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_files import spell
from toy_gpt_train.tokenizers.bpe_merge import merged
from toy_gpt_train.tokenizers.sentencepiece import SentencePieceTokenizer

# The types of a token: a control token is cut out of the text before all others, and not shown.
NORMAL, CONTROL, BYTE = 1, 3, 6
_LONGEST_CHECKED: Final = 1000  # characters; every way to cut a token in two is looked at

Fields = dict[str, Any]

_CUTS: Final = {("gpt2", False): "gpt-2", ("llama3", True): "llama-bpe", ("digits", False): "smollm"}
_SPACE: Final = "\u2581"  # how T5 writes a space


def tokenizer_fields(run: SavedRun) -> Fields:
    """Return the fields of a run's tokenizer; InputError if llama.cpp has none that does what this one does."""
    tokenizer = run.tokenizer
    if tokenizer.kind not in _KINDS:
        raise InputError(f"llama.cpp has no tokenizer that does what {tokenizer.kind} does")
    fields = _KINDS[tokenizer.kind](tokenizer)
    tokens = cast(list[str], fields["tokens"])
    if twice := [token for token, count in Counter(tokens).items() if count > 1]:
        raise InputError(f"llama.cpp could not tell the special token {twice[0]!r:.60} from an ordinary one")
    if cut := [token for token in tokens if "\0" in token]:
        raise InputError(f"llama.cpp would end the token {cut[0]!r:.60} at its zero byte")
    begin, end = begin_and_end(run)
    if end is None:
        # WHY: llama.cpp takes some token for the end of a text, and if none is named, one that may be frequent.
        end = min(range(len(tokens)), key=run.frequencies.__getitem__)
    fields.setdefault("token_type", [CONTROL if token in tokenizer.special else NORMAL for token in tokenizer.tokens])
    fields |= {"bos_token_id": end if begin is None else begin, "eos_token_id": end}
    fields |= {"unknown_token_id": end, "add_bos_token": False, "add_eos_token": False}  # T5 asks for the first
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def _bpe(tokenizer: BPETokenizer) -> Fields:
    """Byte-level BPE is the same there; how it cuts a text has a name."""
    if (how := (tokenizer.cut_by, tokenizer.ignore_merges)) not in _CUTS:
        raise InputError(f"llama.cpp has no name for BPE that cuts by {how[0]} and has ignore_merges {how[1]}")
    merges = [f"{spell(left)} {spell(right)}" for left, right in tokenizer.merges]
    return {"model": "gpt2", "pre": _CUTS[how], "tokens": list(tokenizer.tokens), "merges": merges}


def _char(tokenizer: Tokenizer) -> Fields:
    """Characters are BPE that merges the bytes of a character, one after the other, and no more."""
    tokens = [token if token in tokenizer.special else spell(token.encode()) for token in tokenizer.tokens]
    chars = [spell(token.encode()) for token in tokenizer.tokens if len(token) == 1]
    merges = dict.fromkeys(f"{char[:end]} {char[end]}" for char in chars for end in range(1, len(char)))
    return {"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": list(merges)}


def _word(tokenizer: Tokenizer) -> Fields:
    """Words are T5's tokens: each has the space before it."""
    if wrong := [token for token in tokenizer.tokens if _SPACE in token and token not in tokenizer.special]:
        raise InputError(f"llama.cpp would take U+2581 in the word {wrong[0]!r:.60} for a space")
    tokens = [token if token in tokenizer.special else _SPACE + token for token in tokenizer.tokens]
    spaces: Fields = {"add_space_prefix": True, "remove_extra_whitespaces": True}
    return {"model": "t5", "tokens": tokens, **spaces, "precompiled_charsmap": _white_to_space()}


def _white_to_space() -> bytes:
    r"""Return T5's table of what is replaced in a text before it is cut: \t, \n, \v, \f and \r by a space.

    It is the size of a trie in bytes, the trie, and the replacements. The trie's entry for a first byte is at that
    number. It has the byte, a flag that the replaced text may end here, and from bit 10 on what gives, by exclusive or
    with its own number, the next entry, 256. That one says where the replacement begins: at 0. A second byte would lead
    from it to one of the entries up to 511, which are empty.
    """
    trie = [0] * 512
    for byte in b"\t\n\v\f\r":
        trie[byte] = byte | 1 << 8 | (byte ^ 256) << 10
    return struct.pack("<I512I", 4 * len(trie), *trie) + b" \0"


def _sentencepiece(tokenizer: SentencePieceTokenizer) -> Fields:
    """The same merges there, but what decides is a score of the token that a merge makes, and then the place."""
    if (tokenizer.prefix, tokenizer.strips) not in (("every", True), ("never", False)):
        how = f"prefix {tokenizer.prefix!r}, strips {tokenizer.strips}"
        raise InputError(f"llama.cpp puts a space before every text or none, which this tokenizer does not ({how})")
    places = {token: place for place, token in enumerate(dict.fromkeys(map("".join, tokenizer.merges)))}
    _check_merges(tokenizer, places)
    types = [CONTROL if token in tokenizer.special else NORMAL for token in tokenizer.tokens]
    for token_id in tokenizer.byte_ids:
        types[token_id] = BYTE
    scores = [-float(places.get(token, 0)) for token in tokenizer.tokens]
    fields: Fields = {"model": "llama", "tokens": list(tokenizer.tokens), "scores": scores, "token_type": types}
    return fields | {"add_space_prefix": tokenizer.prefix == "every"}


def _check_merges(tokenizer: SentencePieceTokenizer, places: Mapping[str, int]) -> None:
    """Refuse merges that llama.cpp would do in another order, or add to: it merges all neighbors that make a token.

    OBS: several merges may make the same token. Ours have an order; there, the left one is first. So the results can
    differ where the token overlaps itself, as in "---". Such texts are tried here, which is no proof.
    """
    ids = {token: token_id for token_id, token in enumerate(tokenizer.tokens) if token not in tokenizer.special}
    merges, made = set(tokenizer.merges), list(map("".join, tokenizer.merges))
    apart = {token for token, count in Counter(token for token, _ in groupby(made)).items() if count > 1}
    texts: set[str] = set()
    for token in ids:
        if len(token) > _LONGEST_CHECKED:
            raise InputError(f"the token {token!r:.60} is too long to compare its merges with llama.cpp's")
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [pair for pair in halves if all(len(part) == 1 or part in ids for part in pair)]
        if new := [pair for pair in pairs if pair not in merges]:
            pair = f"{new[0][0]!r:.60} and {new[0][1]!r:.60}"
            raise InputError(f"GGUF cannot express this tokenizer: llama.cpp would also merge {pair}")
        shared = {right for _, right in pairs} & {left for left, _ in pairs}
        if token in apart and not shared:
            raise InputError(f"llama.cpp would do the merges that make {token!r:.60} in another order")
        texts |= {token.removesuffix(part) + token for part in shared}
        texts |= {token * times for times in range(2, 4) if shared}
    by_place = {(ids[left], ids[right]): places[left + right] for left, right in tokenizer.merges}
    made_ids = [ids[token] for token in places]
    for text in texts:
        first = tokenizer.first_ids(text)
        if merged(first, by_place, made_ids) != tokenizer.merge(first):
            raise InputError(f"llama.cpp would cut {text!r:.60} into other tokens")


_KINDS: Final[Mapping[str, Callable[[Any], Fields]]] = {
    "bpe": _bpe,
    "char": _char,
    "word": _word,
    "sentencepiece": _sentencepiece,
}
