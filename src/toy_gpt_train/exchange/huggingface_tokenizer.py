"""huggingface_tokenizer.py - The tokenizer in a Hugging Face folder: tokenizer.json and tokenizer_config.json.

BPE has a tokenizer.json of its own (tokenizer_json.py and sentencepiece_json.py in tokenizers/). For words and
characters it is made here: a pattern cuts the text, a list numbers the tokens, and tokens are joined with a space or
nothing.

REQ: their ids are ours for every text that ours can encode; what ours refuses, theirs refuses too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.marks import begin_and_end
from toy_gpt_train.files import read_json_object
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.saved import described_tokenizer, load_tokenizer
from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME, added_tokens

TOKENIZER_CONFIG_NAME: Final = "tokenizer_config.json"
# WHY spelled out: it is what str.split() takes for white space, which is more than \s of the other library.
_SPACE: Final = "\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CUTS: Final[dict[str, dict[str, Any]]] = {
    "word": {"type": "Split", "pattern": {"Regex": f"[{_SPACE}]+"}, "behavior": "Removed", "invert": False},
    "char": {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False},
}
_JOINS: Final[dict[str, dict[str, Any] | None]] = {"word": None, "char": {"type": "Fuse"}}  # None: with a space


def tokenizer_files(run: SavedRun, context: int) -> dict[str, str]:
    """Return the text of the files, by name."""
    described = run.tokenizer.files().get(TOKENIZER_NAME) or _listed_text(run.tokenizer)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    for name, token_id in zip(("bos_token", "eos_token"), begin_and_end(run), strict=True):
        if token_id is not None:
            config[name] = run.tokenizer.tokens[token_id]
    return {TOKENIZER_NAME: described, TOKENIZER_CONFIG_NAME: json.dumps(config, ensure_ascii=False, indent=2) + "\n"}


def _listed_text(tokenizer: Tokenizer) -> str:
    ids = {token: token_id for token_id, token in enumerate(tokenizer.tokens)}
    # WHY a token that is not in the list: the other library then refuses unknown text, as ours does.
    unknown = "<unk>"
    while unknown in ids:
        unknown += ">"
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens({text: ids[text] for text in tokenizer.special}),
        "normalizer": None,
        "pre_tokenizer": _CUTS[tokenizer.kind],
        "post_processor": None,
        "decoder": _JOINS[tokenizer.kind],
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": unknown},
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def read_tokenizer(folder: Path) -> tuple[Tokenizer, list[str]]:
    """Return the tokenizer of a folder, and the tokens that it puts before every text.

    InputError if it is damaged, or cuts text in a way that is not known here.
    """
    path = folder / TOKENIZER_NAME
    if not path.is_file():
        return load_tokenizer(folder), []
    description = read_json_object(path, unique=True)
    model, before = description.get("model"), _put_before(description.get("post_processor"))
    if isinstance(model, dict) and model.get("type") == "WordLevel":
        return _read_listed(description, model, path), []
    if before:
        description["post_processor"] = None
    tokenizer = described_tokenizer(description, path)
    tokenizer.token_ids(before)  # each has an id
    return tokenizer, before


def _put_before(post_processor: Any) -> list[str]:
    """Return the special tokens that a template puts before a text; none if it does anything else."""
    parts = post_processor.get("processors", [post_processor]) if isinstance(post_processor, dict) else []
    templates = [part.get("single") for part in parts if isinstance(part, dict) and part.get("type") != "ByteLevel"]
    if len(templates) != 1 or not isinstance(templates[0], list) or not templates[0]:
        return []
    *before, text = templates[0]
    found = [part.get("SpecialToken", {}).get("id") if isinstance(part, dict) else None for part in before]
    is_text_last = isinstance(text, dict) and "Sequence" in text
    return [token for token in found if isinstance(token, str)] if is_text_last else []


def _read_listed(description: Mapping[str, Any], model: Mapping[str, Any], path: Path) -> Tokenizer:
    kinds = [kind for kind, cut in _CUTS.items() if cut == description.get("pre_tokenizer")]
    parts = [description.get(name) for name in ("normalizer", "post_processor")]
    if not kinds or parts != [None, None] or description.get("decoder") != _JOINS[kinds[0]]:
        raise InputError(f"{path}: a list of words that does not cut and join text as those that toy-gpt export writes")
    vocab, added = model.get("vocab"), description.get("added_tokens")
    if not isinstance(vocab, dict) or not isinstance(added, list) or model.get("unk_token") in vocab:
        raise InputError(f"{path}: its vocab or its added_tokens are damaged, or it has a token for unknown words")
    if not all(type(token_id) is int for token_id in vocab.values()) or sorted(vocab.values()) != [*range(len(vocab))]:
        raise InputError(f"{path}: the ids of its tokens are not 0 to {len(vocab) - 1}")
    special = [str(token.get("content")) for token in added if isinstance(token, dict)]
    if added != added_tokens({text: vocab.get(text, -1) for text in special}):
        raise InputError(f"{path}: its added_tokens are not as toy-gpt export writes them")
    try:
        return tokenizer_class(kinds[0]).from_vocabulary(sorted(vocab, key=vocab.__getitem__), path.parent, special)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
