"""huggingface.py - A model as a folder that Hugging Face's ``transformers`` loads with no code of ours, and back.

config.json              the sizes, under other names
model.safetensors        the weights, under other names; a large model's in shards
generation_config.json   which token ends a text
tokenizer.json and more  see huggingface_tokenizer.py

gpt is GPT2LMHeadModel there, llama is LlamaForCausalLM. Three things differ besides the names. GPT-2 stores its
matrices inputs by outputs, and queries, keys and values as one. Llama's rotation turns the values i and i + D/2 of a
head of D, ours the neighbors 2i and 2i + 1, so the rows of the matrices for queries and keys are in another order.
"""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.artifacts.lazy_numbers import LazyNumbers
from toy_gpt_train.artifacts.metadata import imported_meta
from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.artifacts.safetensors import LazyTensor, StoredTensor, open_safetensors, write_safetensors
from toy_gpt_train.artifacts.shards import open_shards
from toy_gpt_train.disk import whole_folder
from toy_gpt_train.errors import InputError
from toy_gpt_train.exchange.huggingface_config import CONFIG_NAME, CONFIGS, read_config, written_config
from toy_gpt_train.exchange.huggingface_tokenizer import read_tokenizer, tokenizer_files
from toy_gpt_train.exchange.marks import begin_and_end
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.registry import find_model

WEIGHTS_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"
GENERATION_NAME: Final = "generation_config.json"
# Older files also hold what is no weight: a mask, and the frequencies of the rotation.
_NO_WEIGHTS: Final = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


class Part(NamedTuple):
    """One of their tensors: those of ours that it holds, one below the other, and how it is stored."""

    theirs: str
    ours: Sequence[str]
    heads: int = 0  # whose rows are in the other order; 0 for none
    transposed: bool = False


# --- names --------------------------------------------------------------------------------------------------


def _parts(kind: str, size: Architecture) -> Iterator[Part]:
    blocks = _gpt_block if kind == "gpt" else _llama_block
    first, *names = (
        ("transformer.", "wte", "h", "ln_f") if kind == "gpt" else ("model.", "embed_tokens", "layers", "norm")
    )
    yield Part(f"{first}{names[0]}.weight", ["token_embeddings.weight"])
    if kind == "gpt":
        yield Part("transformer.wpe.weight", ["position_embeddings.weight"])
    for i in range(size.layers):
        yield from blocks(f"{first}{names[1]}.{i}.", f"blocks.{i}.", size)
    for what in ("weight", "bias") if kind == "gpt" else ("weight",):
        yield Part(f"{first}{names[2]}.{what}", [f"norm.{what}"])
    if not size.tied:
        yield Part("lm_head.weight", ["output.weight"])


def _gpt_block(theirs: str, ours: str, size: Architecture) -> Iterator[Part]:
    layers = {
        "ln_1": ["norm_1"],
        "attn.c_attn": ["attention.q_proj", "attention.k_proj", "attention.v_proj"],
        "attn.c_proj": ["attention.o_proj"],
        "ln_2": ["norm_2"],
        "mlp.c_fc": ["feed_forward.up_proj"],
        "mlp.c_proj": ["feed_forward.down_proj"],
    }
    for name, own in layers.items():
        is_matrix = not name.startswith("ln")
        yield Part(f"{theirs}{name}.weight", [f"{ours}{one}.weight" for one in own], transposed=is_matrix)
        yield Part(f"{theirs}{name}.bias", [f"{ours}{one}.bias" for one in own])


def _llama_block(theirs: str, ours: str, size: Architecture) -> Iterator[Part]:
    layers = {"input_layernorm": "norm_1", "post_attention_layernorm": "norm_2"}
    layers |= {f"self_attn.{name}_proj": f"attention.{name}_proj" for name in "qkvo"}
    layers |= {f"mlp.{name}_proj": f"feed_forward.{name}_proj" for name in ("gate", "up", "down")}
    rotated = {"self_attn.q_proj": size.heads, "self_attn.k_proj": size.kv_heads or size.heads}
    biased = {"self_attn": size.attention_bias, "mlp": size.mlp_bias}
    for name, own in layers.items():
        for what in ("weight", "bias") if biased.get(name.partition(".")[0]) else ("weight",):
            yield Part(f"{theirs}{name}.{what}", [f"{ours}{own}.{what}"], rotated.get(name, 0))


# --- numbers ------------------------------------------------------------------------------------------------


def _halves(rows: int, heads: int) -> list[int]:
    """Return which of our rows are theirs, in their order: in each head the even rows first, then the odd ones.

    Example:
        >>> _halves(8, 2)
        [0, 2, 1, 3, 4, 6, 5, 7]
    """
    size = rows // heads
    return [start + i for start in range(0, rows, size) for i in (*range(0, size, 2), *range(1, size, 2))]


def _in_order(data: "array[float]", order: Sequence[int]) -> "array[float]":
    width = len(data) // len(order)
    ordered: array[float] = data[:0]
    for row in order:
        ordered += data[row * width : (row + 1) * width]
    return ordered


def _transposed(data: "array[float]", columns: int, which: range) -> "array[float]":
    turned: array[float] = data[:0]
    for column in which:
        turned += data[column::columns]
    return turned


def _to_theirs(part: Part, ours: Mapping[str, Any]) -> StoredTensor:
    (rows, *width), numbers = list(ours[part.ours[0]].shape), array("f")
    for name in part.ours:
        numbers += array("f", ours[name].data)
    if part.heads:
        numbers = _in_order(numbers, _halves(rows, part.heads))
    rows *= len(part.ours)
    if part.transposed:
        return (*width, rows), _transposed(numbers, width[0], range(width[0]))
    return (rows, *width), numbers


def _to_ours(part: Part, theirs: LazyTensor, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, LazyTensor]]:
    """Yield our tensors of one of theirs; InputError if its shape is another than the config says."""
    (rows, *width), (shape, data) = shapes[part.ours[0]], theirs
    joined = rows * len(part.ours)
    expected = (*width, joined) if part.transposed else (joined, *width)
    if shape != expected:
        raise InputError(f"tensor {part.theirs} has the shape {list(shape)}, but {CONFIG_NAME} says {list(expected)}")
    size = len(data) // len(part.ours)
    for i, name in enumerate(part.ours):
        # WHY lazy: a large model need not be in memory to be taken over.
        yield (
            name,
            (shapes[name], LazyNumbers(size, data.typecode, partial(_own, part, data, i * size, i * rows, rows))),
        )


def _own(part: Part, data: LazyNumbers, begin: int, first: int, rows: int, start: int, stop: int) -> "array[float]":
    """Return some numbers of our tensor that begins at a number, or a row, of theirs."""
    if not part.transposed and not part.heads:
        return data[begin + start : begin + stop]
    whole = data[:]
    if part.transposed:
        whole = _transposed(whole, rows * len(part.ours), range(first, first + rows))
    if part.heads:
        order = _halves(rows, part.heads)
        whole = _in_order(whole, sorted(range(rows), key=order.__getitem__))
    return whole[start:stop]


# --- writing ------------------------------------------------------------------------------------------------


def write(run: SavedRun, out: Path) -> list[Path]:
    """Write a folder that transformers loads; it appears whole or not at all. Return the paths of its files.

    InputError if the folder exists already, or there is no such model in transformers.
    """
    kind, model = run.meta["model_kind"], run.model
    if kind not in CONFIGS:
        raise InputError(f"transformers has no model like {kind}: hf is for {' and '.join(CONFIGS)}")
    network: Any = model
    size: Architecture = network.architecture
    named = network.network.state_dict()
    tensors = {part.theirs: _to_theirs(part, named) for part in _parts(kind, size)}
    begin, end = begin_and_end(run)
    config = written_config(kind, model.vocab_size, model.context_size, size)
    ends = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": None}
    texts = {
        CONFIG_NAME: {**config, **ends},
        GENERATION_NAME: ends,
        **tokenizer_files(run, model.context_size),
    }
    with whole_folder(out) as staged:
        write_safetensors(staged / WEIGHTS_NAME, tensors, {"format": "pt"})
        for name, content in texts.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
            (staged / name).write_bytes(text.encode("utf-8"))
    return [out / name for name in sorted((WEIGHTS_NAME, *texts))]


# --- reading ----------------------------------------------------------------------------------------------------


def read(path: Path) -> SavedRun:
    """Read a folder of GPT-2 or Llama architecture, as transformers or write() wrote it.

    InputError, in one line, if a file is missing or damaged, or says what this project cannot compute.
    """
    kind, vocab_size, context, size = read_config(path / CONFIG_NAME)
    tokenizer, before = read_tokenizer(path)
    if tokenizer.vocab_size != vocab_size:
        raise InputError(f"{path}: {tokenizer.vocab_size} tokens in the tokenizer, {vocab_size} in {CONFIG_NAME}")
    weights = path / WEIGHTS_NAME
    stored = open_safetensors(weights)[0] if weights.is_file() else _read_split(path)
    model_class: Any = find_model(kind).model_class
    try:
        tensors = _named(stored, kind, size)
        # WHY before the model is made: sizes that no file holds must not fill the memory.
        if model_class.count_parameters(vocab_size, context, size) > sum(len(data) for _, data in stored.values()):
            raise InputError(f"{CONFIG_NAME} describes a larger model than the weights")
        model = model_class(vocab_size, context, size, seed=None)
        shapes = {name: parameter.shape for name, parameter in model.network.named_parameters()}
        model.load_tensors(
            {name: own for part in _parts(kind, size) for name, own in _to_ours(part, tensors[part.theirs], shapes)}
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    meta = imported_meta("a Hugging Face folder", kind, tokenizer, context) | {"start_tokens": before}
    return SavedRun(meta, tokenizer, [0] * vocab_size, model, [])


def _read_split(path: Path) -> dict[str, LazyTensor]:
    if not (path / INDEX_NAME).is_file():
        raise InputError(f"{path}: neither {WEIGHTS_NAME} nor {INDEX_NAME} is here")
    return open_shards(path / INDEX_NAME)


def _named(stored: Mapping[str, LazyTensor], kind: str, size: Architecture) -> dict[str, LazyTensor]:
    """Return their tensors by the full names; InputError if one is missing, or there is one more."""
    first = "transformer." if kind == "gpt" else "model."
    full = any(name.startswith(first) for name in stored)
    tensors = {name if full or name == "lm_head.weight" else first + name: one for name, one in stored.items()}
    expected = {part.theirs for part in _parts(kind, size)}
    # A tied output layer may be there once more; transformers does not read it either.
    spare = {name for name in tensors if name.endswith(_NO_WEIGHTS)} | ({"lm_head.weight"} if size.tied else set())
    for name in sorted(name for name in expected & tensors.keys() if tensors[name][1].typecode not in "df"):
        raise InputError(f"tensor {name!r:.80} has whole numbers, which are not weights")
    for name in sorted(expected ^ (tensors.keys() - (spare - expected))):
        what = "is missing" if name in expected else "is not known to this architecture"
        raise InputError(f"tensor {name!r:.80} {what}")
    return tensors
