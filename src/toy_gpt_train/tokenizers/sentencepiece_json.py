"""sentencepiece_json.py - A tokenizer in the style of sentencepiece in one file, Hugging Face's tokenizer.json.

Its ``▁`` for spaces and for the beginning of a text comes in two forms. The older one is a normalizer that changes the
text; the newer one is a pre-tokenizer, Metaspace. They differ in where a prefix is put.

REQ: what would cut or join text in another way is refused by name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe_files import json_text
from toy_gpt_train.tokenizers.tokenizer_json import added_tokens, special_tokens_of, types_of

SPACE: Final = "\u2581"
Merge = tuple[str, str]
# Where a prefix is put: before every part of a text that no special token divides; always, but where a space is there
# already; only before the first part of the text, with the same exception; never. The last three are Metaspace's.
PREFIXES: Final = ("every", "always", "first", "never")

_PREPEND: Final = {"type": "Prepend", "prepend": SPACE}
_REPLACE: Final = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_BACK: Final[list[dict[str, Any]]] = [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
_STRIP: Final = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


class Parsed(NamedTuple):
    """What a tokenizer.json says."""

    tokens: Sequence[str]  # by id
    merges: Sequence[Merge]  # in their order
    special: Sequence[str]
    prefix: str  # one of PREFIXES
    strips: bool  # whether decoding leaves out a space at the beginning


def is_sentencepiece(description: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is one in the style of sentencepiece."""
    model = description.get("model")
    return isinstance(model, dict) and bool(model.get("byte_fallback"))


def parse(description: Mapping[str, Any], path: Path) -> Parsed:
    """Return what the content of a tokenizer.json says; InputError if it is damaged, or says what is not known."""
    model, named = _checked_model(description, path), special_tokens_of(description, path)
    prefix, strips = _prefix_of(description, path), _strips(description, path)
    members, listed = model.get("vocab"), model.get("merges")
    if not isinstance(members, dict) or not isinstance(listed, list):
        raise InputError(f"{path}: the vocab of its model is not an object, or its merges are not a list")
    for text, token_id in named.items():
        if members.get(text, token_id) != token_id:
            raise InputError(f"{path}: its added_tokens and the vocab of its model give {text!r:.60} different ids")
    ids = {**members, **named}
    if not all(type(token_id) is int for token_id in ids.values()) or sorted(ids.values()) != [*range(len(ids))]:
        raise InputError(f"{path}: the ids of its tokens are not 0 to {len(ids) - 1}")
    merges = [_merge(pair, f"{path}: merge {rank}") for rank, pair in enumerate(listed)]
    return Parsed(sorted(ids, key=ids.__getitem__), merges, list(named), prefix, strips)


def _checked_model(description: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    model = description.get("model")
    if not isinstance(model, dict):
        raise InputError(f"{path}: its model is not an object")
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback") is not True:
        raise InputError(f"{path}: its model is {model.get('type')!r:.60}; only BPE with byte_fallback is supported")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(setting):
            raise InputError(f"{path}: {setting} of its model is not supported")
    if (after := description.get("post_processor")) is not None:
        raise InputError(f"{path}: its post_processor ({types_of(after)}) adds tokens, which is not supported")
    return model


def _prefix_of(description: Mapping[str, Any], path: Path) -> str:
    normalizer, cut = description.get("normalizer"), description.get("pre_tokenizer")
    steps = (
        normalizer.get("normalizers") if isinstance(normalizer, dict) and "normalizers" in normalizer else normalizer
    )
    if cut is None and steps in ([_PREPEND, _REPLACE], [_REPLACE], _REPLACE):
        # WHY: such a special token is looked for after the text has been changed.
        for token in description.get("added_tokens") or []:
            if isinstance(token, dict) and token.get("normalized", False) is not False:
                raise InputError(f"{path}: normalized of the added token {token.get('content')!r:.60} is not supported")
        return "every" if steps == [_PREPEND, _REPLACE] else "never"
    if normalizer is None and isinstance(cut, dict) and cut.get("type") == "Metaspace":
        scheme = cut.get("prepend_scheme", "always")
        if cut.get("replacement") == SPACE and scheme in PREFIXES[1:] and cut.get("split", True) is False:
            return str(scheme)
    found = f"normalizer ({types_of(normalizer)}) or pre_tokenizer ({types_of(cut)})"
    raise InputError(f"{path}: its model has byte_fallback, but its {found} is not that of Llama 2")


def _strips(description: Mapping[str, Any], path: Path) -> bool:
    decoder = description.get("decoder")
    steps: Any = decoder.get("decoders") if isinstance(decoder, dict) else None
    if steps not in (_BACK, [*_BACK, _STRIP]):
        raise InputError(f"{path}: its decoder ({types_of(decoder)}) joins tokens in another way than that of Llama 2")
    return len(steps) > len(_BACK)


def _merge(pair: Any, where: str) -> Merge:
    """Return a merge, which is a text or a list of two."""
    parts = pair.split(" ") if isinstance(pair, str) else pair
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
        raise InputError(f"{where} is not two tokens: {pair!r:.60}")
    return parts[0], parts[1]


def text_of(parsed: Parsed) -> str:
    """Return the text of a tokenizer.json, which parse() reads."""
    ids = {token: token_id for token_id, token in enumerate(parsed.tokens)}
    cut = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": parsed.prefix, "split": False}
    is_older = parsed.prefix == "every"
    model: dict[str, Any] = {"type": "BPE"}
    model |= dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    model |= {"fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens({text: ids[text] for text in parsed.special}),
        "normalizer": {"type": "Sequence", "normalizers": [_PREPEND, _REPLACE]} if is_older else None,
        "pre_tokenizer": None if is_older else cut,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [*_BACK, _STRIP] if parsed.strips else _BACK},
        "model": {**model, "vocab": ids, "merges": list(map(list, parsed.merges))},
    }
    return json_text(content)
