"""tokenizer_json.py - A byte-level BPE tokenizer in one file: tokenizer.json, of Hugging Face's ``tokenizers`` library.

Beside vocab.json and merges.txt it names the special tokens, and must not contradict them. Alone, it is read whole.

REQ: what would cut text in another way than those of pretokenize.py is refused by name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.tokenizers.bpe_files import (
    MERGES_NAME,
    VOCAB_NAME,
    Merge,
    all_special,
    json_text,
    parse_merges,
    parse_vocab,
    spell,
)
from toy_gpt_train.tokenizers.pretokenize import LLAMA3_PATTERN

TOKENIZER_NAME: Final = "tokenizer.json"
_BYTE_LEVEL: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BY_LLAMA3: Final = {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": False}
_CUT_FORMS: Final[dict[str, dict[str, Any]]] = {  # how each way of pretokenize.py is described
    "gpt2": _BYTE_LEVEL,
    "llama3": {"type": "Sequence", "pretokenizers": [_BY_LLAMA3, {**_BYTE_LEVEL, "use_regex": False}]},
    "digits": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]},
}


def read_description(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json; if vocab.json and merges.txt are beside it, they bound its size."""
    names = [path.with_name(name) for name in (VOCAB_NAME, MERGES_NAME)]
    if not any(beside.is_file() for beside in names):
        return read_json_object(path, unique=True)
    size = sum(beside.stat().st_size for beside in names)
    return read_json_object(path, limit=16 * size + 100_000, values=size + 10_000)


def special_tokens_of(description: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return the special tokens that a tokenizer.json names, by id; vocab.json does not mark them."""
    found: dict[str, int] = {}
    added = description.get("added_tokens") or []
    for token in added if isinstance(added, list) else [added]:
        text, token_id = (token.get("content"), token.get("id")) if isinstance(token, dict) else (None, None)
        if not isinstance(text, str) or type(token_id) is not int or text in found:
            raise InputError(f"{path}: its added_tokens are not a list of different texts and ids")
        for setting in ("lstrip", "rstrip", "single_word"):
            if token.get(setting, False) is not False:
                raise InputError(f"{path}: {setting} of the added token {text!r:.60} is not supported")
        found[text] = token_id
    return dict(sorted(found.items(), key=lambda item: item[1]))


def parse_alone(description: Mapping[str, Any], path: Path) -> tuple[dict[int, bytes], list[Merge], list[str]]:
    """Return the vocabulary, the merges, and the special tokens of a tokenizer.json without other files.

    InputError if it is damaged, or is not byte-level BPE that cuts text in one of the ways known.
    """
    model = _checked_model(description, path)
    members, listed = model.get("vocab"), model.get("merges")
    if not isinstance(members, dict) or not isinstance(listed, list):
        raise InputError(f"{path}: the vocab of its model is not an object, or its merges are not a list")
    named = special_tokens_of(description, path)
    for text, token_id in named.items():
        if members.get(text, token_id) != token_id:
            raise InputError(f"{path}: its added_tokens and the vocab of its model give {text!r:.60} different ids")
    vocab = parse_vocab(members, named, path)
    merges = parse_merges(((f"{path}, merge {rank}", line) for rank, line in enumerate(_merge_lines(listed))), vocab)
    return vocab, merges, all_special(vocab, merges, named, f"{path}: no merge makes", "its vocab")


def settings_of(description: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return how a tokenizer.json cuts text, and whether a pre-token that is a token needs no merges."""
    model = _checked_model(description, path)
    return {
        "cut": _cut_of(description["pre_tokenizer"], path),
        "ignore_merges": model.get("ignore_merges", False) is True,
    }


def is_unlike_gpt2(description: Mapping[str, Any]) -> bool:
    """Whether vocab.json and merges.txt alone would be another tokenizer."""
    model = description.get("model")
    return isinstance(model, dict) and (
        model.get("ignore_merges") is True or description.get("pre_tokenizer", {}).get("type") != "ByteLevel"
    )


def _cut_of(cut: Mapping[str, Any], path: Path) -> str:
    for name, form in _CUT_FORMS.items():
        if _bare(cut) == _bare(form):
            return name
    if cut.get("type") != "ByteLevel":
        raise InputError(f"{path}: its pre_tokenizer ({types_of(cut)}) is not ByteLevel, which cuts text as GPT-2 does")
    for setting, value in (("add_prefix_space", False), ("use_regex", True)):
        if (found := cut.get(setting, True)) is not value:
            raise InputError(f"{path}: {setting} of its pre_tokenizer is {found!r:.20}; GPT-2 has {value}")
    return "gpt2"


def _bare(cut: Any) -> Any:  # without what only moves the places of tokens in the text
    if isinstance(cut, dict):
        return {name: _bare(value) for name, value in cut.items() if name != "trim_offsets"}
    return [_bare(part) for part in cut] if isinstance(cut, list) else cut


def check_description(
    description: Mapping[str, Any], path: Path, tokens: Sequence[str], merges: Sequence[Merge]
) -> None:
    """Refuse a tokenizer.json that describes another tokenizer than the files beside it; it may name tokens only."""
    if "model" not in description:
        return
    model = _checked_model(description, path)
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    vocab, listed = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or ids != {**special_tokens_of(description, path), **vocab}:
        raise InputError(f"{path}: its tokens are not those of {VOCAB_NAME}")
    lines = _merge_lines(listed if isinstance(listed, list) else [])
    if lines != [f"{spell(left)} {spell(right)}" for left, right in merges]:
        raise InputError(f"{path}: its merges are not those of {MERGES_NAME}")


def _merge_lines(merges: Sequence[Any]) -> list[str]:
    """Return merges, each a text or a list of two, as the lines of merges.txt."""
    return [" ".join(map(str, pair)) if isinstance(pair, list) else str(pair) for pair in merges]


def _checked_model(description: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the model in a tokenizer.json; InputError names what is not as in GPT-2."""
    model, cut = description.get("model"), description.get("pre_tokenizer")
    if not isinstance(model, dict) or not isinstance(cut, dict):
        raise InputError(f"{path}: its model or its pre_tokenizer is not an object")
    # OBS: GPT-2's own file does not say the type of its model.
    if (kind := model.get("type", "BPE")) != "BPE":
        raise InputError(f"{path}: its model is {kind!r:.60}; only byte-level BPE is supported")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            raise InputError(f"{path}: {setting} of its model is not supported")
    if not isinstance(model.get("ignore_merges") or False, bool):
        raise InputError(f"{path}: ignore_merges of its model is neither true nor false")
    if (normalizer := description.get("normalizer")) is not None:
        raise InputError(f"{path}: its normalizer ({types_of(normalizer)}) changes the text; GPT-2 has none")
    _cut_of(cut, path)
    after = description.get("post_processor")
    if after is not None and types_of(after) != "ByteLevel":
        raise InputError(f"{path}: its post_processor ({types_of(after)}) adds tokens, which is not supported")
    return model


def types_of(part: Any, nested: bool = False) -> str:
    """Return the type of a part of a tokenizer, those of the parts of a sequence, and a pattern, for a message."""
    if not isinstance(part, dict):
        return f"{part!r:.60}"
    found = [str(part.get("type"))[:40]]
    if "pattern" in part:
        found.append(f"with the pattern {part['pattern']!r:.100}")
    parts = part.get("pretokenizers", part.get("normalizers"))
    if isinstance(parts, list) and not nested:
        found.append(f"of {', '.join(types_of(each, nested=True) for each in parts[:3])}")
    return " ".join(found)


def added_tokens(special: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return special tokens as a tokenizer.json lists them, by id."""
    literal = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(special.items(), key=lambda item: item[1])
    return [{"id": token_id, "content": text, **literal} for text, token_id in by_id]


def description_text(
    tokens: Sequence[str],
    merges: Sequence[Merge],
    special: Mapping[str, int],
    *,
    cut: str = "gpt2",
    ignore_merges: bool = False,
) -> str:
    """Return the text of a tokenizer.json; ``tokens`` are spelled, by id."""
    # Source: https://huggingface.co/docs/tokenizers (BPE, ByteLevel and AddedToken).
    model: dict[str, Any] = {"type": "BPE"}
    model |= dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges}
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(special),
        "normalizer": None,
        "pre_tokenizer": _CUT_FORMS[cut],
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {**model, "vocab": ids, "merges": [f"{spell(left)} {spell(right)}" for left, right in merges]},
    }
    return json_text(content)
