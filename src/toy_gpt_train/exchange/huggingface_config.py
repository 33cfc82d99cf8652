"""huggingface_config.py - config.json of a Hugging Face folder: a model's sizes, under the names of GPT-2 or Llama.

REQ: what would change the result, and this project does not compute, is refused by name.
"""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.nn.rotation import RopeScaling

CONFIG_NAME: Final = "config.json"
_MOST_BYTES: Final = 1 << 20
_LARGEST: Final = 1 << 40
_SIZES: Final = ("embedding_dim", "layers", "heads", "hidden_dim")
_BIASES: Final = ("attention_bias", "mlp_bias")
_ORIGINAL: Final = "original_max_position_embeddings"


class Config(NamedTuple):
    """How one architecture is described; names are ours -> theirs."""

    model_type: str
    architecture: str
    sizes: Mapping[str, str]  # whole numbers above 0
    norm_eps: str
    activation: str
    activations: tuple[str, ...]  # those that are computed here; the first is written
    tied: bool  # whether it is where nothing says so
    eps: float  # the same
    fixed: Mapping[str, Any]  # what must have this value, where it is given


CONFIGS: Final = {
    "gpt": Config(
        "gpt2",
        "GPT2LMHeadModel",
        {
            "vocab_size": "vocab_size",
            "context": "n_positions",
            "embedding_dim": "n_embd",
            "layers": "n_layer",
            "heads": "n_head",
            "hidden_dim": "n_inner",
        },
        "layer_norm_epsilon",
        "activation_function",
        ("gelu_new", "gelu_pytorch_tanh"),
        tied=True,
        eps=1e-5,
        fixed={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
    ),
    "llama": Config(
        "llama",
        "LlamaForCausalLM",
        {
            "vocab_size": "vocab_size",
            "context": "max_position_embeddings",
            "embedding_dim": "hidden_size",
            "layers": "num_hidden_layers",
            "heads": "num_attention_heads",
            "hidden_dim": "intermediate_size",
            "kv_heads": "num_key_value_heads",
        },
        "rms_norm_eps",
        "hidden_act",
        ("silu", "swish"),
        tied=False,
        eps=1e-6,
        fixed={},
    ),
}


def written_config(kind: str, vocab_size: int, context: int, size: Architecture) -> dict[str, Any]:
    """Return the content of a config.json, without the special tokens."""
    config = CONFIGS[kind]
    values = {"vocab_size": vocab_size, "context": context, **{name: getattr(size, name) for name in _SIZES}}
    values["kv_heads"] = size.kv_heads or size.heads
    content = {
        "architectures": [config.architecture],
        "model_type": config.model_type,
        **{theirs: values[ours] for ours, theirs in config.sizes.items()},
        config.norm_eps: size.norm_eps,
        config.activation: config.activations[0],
        "tie_word_embeddings": size.tied,
        **config.fixed,
        "dtype": "float32",
        "torch_dtype": "float32",  # the same, for transformers 4
    }
    if kind == "gpt":
        return content | {"embd_pdrop": size.dropout, "resid_pdrop": size.dropout, "attn_pdrop": 0.0}
    content |= {name: getattr(size, name) for name in _BIASES}
    content |= {"rope_theta": size.rope_base, "head_dim": size.head_size}
    return content if size.rope_scaling is None else content | {"rope_scaling": _written_scaling(size.rope_scaling)}


def read_config(path: Path) -> tuple[str, int, int, Architecture]:
    """Return the model's name, V, N and architecture; InputError if the file is damaged, or says what is not known."""
    content = read_json_object(path, unique=True, limit=_MOST_BYTES)
    try:
        kind = _kind(content)
        config = CONFIGS[kind]
        for name, expected in config.fixed.items():
            if (found := content.get(name, expected)) is not expected:
                raise InputError(f"{name} is {found!r:.40}; only {expected} is supported")
        activation = content.get(config.activation, config.activations[0])
        if activation not in config.activations:
            raise InputError(f"{config.activation} is {activation!r:.40}; only {config.activations[0]} is supported")
        sizes: dict[str, Any] = {ours: _size(content, ours, theirs) for ours, theirs in config.sizes.items()}
        vocab_size, context = sizes.pop("vocab_size"), sizes.pop("context")
        if sizes.get("kv_heads") == sizes["heads"]:
            sizes["kv_heads"] = 0  # as Architecture says it
        sizes["hidden_dim"] = sizes["hidden_dim"] or 4 * sizes["embedding_dim"]
        sizes["tied"] = _flag(content, "tie_word_embeddings", default=config.tied)
        if kind == "llama":
            sizes |= _llama_sizes(content, sizes["embedding_dim"] / sizes["heads"])
        size = Architecture(**sizes, norm_eps=_number(content, config.norm_eps, config.eps))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return kind, vocab_size, context, size


def _kind(content: Mapping[str, Any]) -> str:
    model_type, named = content.get("model_type"), content.get("architectures")
    for kind, config in CONFIGS.items():
        if config.model_type == model_type and named in (None, [config.architecture]):
            return kind
    known = " and ".join(config.architecture for config in CONFIGS.values())
    raise InputError(f"the architecture is {named!r:.60} of the type {model_type!r:.40}; {known} are supported")


def _size(content: Mapping[str, Any], ours: str, theirs: str) -> int:
    value = content.get(theirs)
    if value is None and ours in ("hidden_dim", "kv_heads", "head_dim"):  # they follow from the others
        return 0
    if type(value) is not int or not 1 <= value < _LARGEST:
        raise InputError(f"{theirs} is {value!r:.40}, not a whole number above 0")
    return value


def _number(content: Mapping[str, Any], name: str, default: float) -> float:
    value = content.get(name, default)
    if type(value) not in (int, float):
        raise InputError(f"{name} is {value!r:.40}, not a number")
    return float(value) if abs(value) < _LARGEST else inf  # WHY: some whole numbers are beyond any float


def _flag(content: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = content.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r:.40}, neither true nor false")
    return value


def _llama_sizes(content: Mapping[str, Any], usual_head: float) -> dict[str, Any]:
    head = _size(content, "head_dim", "head_dim")
    base, scaling = _rotation(content)
    sizes = {"rope_base": base, "rope_scaling": scaling, "head_dim": 0 if head == usual_head else head}
    return sizes | {name: _flag(content, name, default=False) for name in _BIASES}


def _rotation(content: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Return the base of the rotation, and its scaling. transformers 5 has both in an object of their own."""
    name = "rope_parameters" if content.get("rope_scaling") in (None, {}) else "rope_scaling"
    rope = {} if content.get(name) is None else content[name]
    if not isinstance(rope, dict):
        raise InputError(f"{name} is {rope!r:.40}, not an object")
    settings = {**content, **rope}
    if (share := settings.get("partial_rotary_factor", 1)) != 1:
        raise InputError(f"partial_rotary_factor is {share!r:.40}; only 1 is supported")
    base = _number(settings, "rope_theta", 10_000.0)
    match rope.get("rope_type", rope.get("type", "default")):
        case "default":
            return base, None
        case "linear":
            return base, RopeScaling(_number(rope, "factor", 0.0))
        case "llama3":
            low, high = (_number(rope, f"{which}_freq_factor", 0.0) for which in ("low", "high"))
            # OBS: transformers lets the top level have the last word.
            known = {**rope, **content}
            original = _size(known, "context", _ORIGINAL if _ORIGINAL in known else "max_position_embeddings")
            return base, RopeScaling(_number(rope, "factor", 0.0), low, high, original)
        case kind:
            raise InputError(f"{name} is of the type {kind!r:.40}; only default, linear and llama3 are supported")


def _written_scaling(scaling: RopeScaling) -> dict[str, Any]:
    if not scaling.original_context:
        return {"rope_type": "linear", "factor": scaling.factor}
    factors = {name: getattr(scaling, name) for name in ("factor", "low_freq_factor", "high_freq_factor")}
    return {"rope_type": "llama3", **factors, _ORIGINAL: scaling.original_context}
