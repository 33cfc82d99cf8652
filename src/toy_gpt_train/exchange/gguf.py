r"""gguf.py - gpt and llama as one file for llama.cpp, and for what is built on it: GGUF, version 3.

    beginning   "GGUF", the version, the number of tensors, the number of fields
    fields      each a key, a type and a value: the sizes of the network, then the tokenizer
    tensors     each a name, its lengths (that of a row first), a type, and where its numbers begin in the data
    data        the numbers of each tensor, from a multiple of 32 bytes on

Numbers are little-endian, weights have 32 bits, and a text is its length in 8 bytes and its UTF-8.

Concepts:
    architecture: the name by which llama.cpp knows how tensors make a network. It rotates the same pairs of values as
        nn/attention.py, so every matrix stays as it is.
    tokenizer: llama.cpp has several; see gguf_tokenizer.py.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
import sys
from array import array
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Final, cast

from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.gguf_tokenizer import tokenizer_fields
from toy_gpt_train.models.transformer import TransformerModel
from toy_gpt_train.nn.kernels import Floats
from toy_gpt_train.nn.rotation import rope_frequencies

ALIGNMENT: Final = 32  # bytes
F32: Final = 0  # the type of a tensor, and of a file that has no others

# The types of a field's value.
UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 0, 4, 5, 6, 7, 8, 9

Value = bool | int | float | str | bytes | list[str] | list[int] | list[float]
Fields = dict[str, Value]
Tensors = dict[str, tuple[tuple[int, ...], list[Floats]]]  # each a shape, and the numbers in parts


def write(run: SavedRun, out: Path) -> list[Path]:
    """Write a gpt or a llama, with its tokenizer, to a file.

    Raises:
        InputError: It is another model, or llama.cpp has no tokenizer that does what this one does.
        OSError: The file cannot be written.
    """
    kind = run.meta["model_kind"]
    if kind not in _ARCHITECTURES:
        raise InputError(f"GGUF says how to compute {' or '.join(_ARCHITECTURES)}, but not {kind}")
    model, architecture = cast(TransformerModel, run.model), _ARCHITECTURES[kind]
    fields, tensors = _sizes(model, architecture) | tokenizer_fields(run), _tensors(model, architecture)
    with whole_file(out) as file:
        file.write(_padded(_header(fields, tensors)))
        for _, parts in tensors.values():
            file.write(_padded(b"".join(map(_numbers, parts))))
    return [out]


# --- the network --------------------------------------------------------------------------------------------

_ARCHITECTURES: Final = {"gpt": "gpt2", "llama": "llama"}  # by the model's name
_NAMES: Final = {  # of the parts of a network
    "token_embeddings": "token_embd",
    "position_embeddings": "position_embd",
    "norm_1": "attn_norm",
    "attention.q_proj": "attn_q",
    "attention.k_proj": "attn_k",
    "attention.v_proj": "attn_v",
    "attention.o_proj": "attn_output",
    "norm_2": "ffn_norm",
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
    "norm": "output_norm",
    "output": "output",
}
_JOINED: Final = {"gpt2": dict.fromkeys(("attn_q", "attn_k", "attn_v"), "attn_qkv")}  # one matrix below another


def _sizes(model: TransformerModel, architecture: str) -> Fields:
    size = model.architecture
    numbers: Fields = {
        "vocab_size": model.vocab_size,
        "context_length": model.context_size,
        "embedding_length": size.embedding_dim,
        "block_count": size.layers,
        "feed_forward_length": size.hidden_dim,
        "attention.head_count": size.heads,
        "attention.head_count_kv": size.heads,
        "attention.layer_norm_epsilon": size.norm_eps,
    }
    if architecture == "llama":
        numbers["attention.layer_norm_rms_epsilon"] = numbers.pop("attention.layer_norm_epsilon")
        numbers["attention.head_count_kv"] = size.kv_heads or size.heads
        numbers["rope.dimension_count"] = size.head_size
        numbers["rope.freq_base"] = size.rope_base
        if size.head_dim:
            numbers |= dict.fromkeys(("attention.key_length", "attention.value_length"), size.head_dim)
        if size.rope_scaling is not None and not size.rope_scaling.original_context:
            numbers |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(size.rope_scaling.factor)}
    named = {f"{architecture}.{name}": number for name, number in numbers.items()}
    return {"general.architecture": architecture, "general.file_type": F32, **named}


def _tensors(model: TransformerModel, architecture: str) -> Tensors:
    tensors: Tensors = {}
    for name, parameter in model.network.named_parameters():
        rows, *row = parameter.shape
        key = _tensor_name(name, _JOINED.get(architecture, {}))
        above, parts = tensors.get(key, ((0,), []))
        tensors[key] = (above[0] + rows, *row), [*parts, parameter.data]
    size = model.architecture
    scaling = size.rope_scaling if architecture == "llama" else None
    if scaling is not None and scaling.original_context:
        turns = rope_frequencies(size.head_size, size.rope_base)
        slower = [turn / scaling.scaled(turn) for turn in turns]  # what llama.cpp divides the frequencies by
        tensors["rope_freqs.weight"] = (len(slower),), [slower]
    return tensors


def _tensor_name(name: str, joined: Mapping[str, str]) -> str:
    """Return the name of a parameter there.

    Example:
        >>> _tensor_name("blocks.0.attention.q_proj.weight", {})
        'blk.0.attn_q.weight'
    """
    part, _, what = name.rpartition(".")
    block, number, inner = part.split(".", 2) if part.startswith("blocks.") else ("", "", part)
    there = joined.get(_NAMES[inner], _NAMES[inner])
    return f"blk.{number}.{there}.{what}" if block else f"{there}.{what}"


# --- the bytes ----------------------------------------------------------------------------------------------


def _header(fields: Fields, tensors: Tensors) -> bytes:
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(fields))]
    for key, value in fields.items():
        kind, data = _typed(value)
        parts += [_text(key), struct.pack("<I", kind), data]
    offset = 0
    for name, (shape, _) in tensors.items():
        parts += [_text(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), F32, offset)]
        size = 4 * prod(shape)
        offset += size + -size % ALIGNMENT
    return b"".join(parts)


def _typed(value: Value) -> tuple[int, bytes]:
    """Return a value's type and its bytes; a list has its type, and its length, before its items."""
    match value:
        case bool():  # WHY first: a bool is an int to Python.
            return BOOL, struct.pack("<?", value)
        case int():
            return UINT32, struct.pack("<I", value)
        case float():
            return FLOAT32, struct.pack("<f", value)
        case str():
            return STRING, _text(value)
        case bytes():
            return ARRAY, struct.pack("<IQ", UINT8, len(value)) + value
    if not value or isinstance(value[0], str):
        return ARRAY, struct.pack("<IQ", STRING, len(value)) + b"".join(map(_text, cast(list[str], value)))
    kind, code = (INT32, "i") if isinstance(value[0], int) else (FLOAT32, "f")
    return ARRAY, struct.pack("<IQ", kind, len(value)) + struct.pack(f"<{len(value)}{code}", *value)


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _numbers(values: Floats) -> bytes:
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
