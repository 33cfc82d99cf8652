"""architecture.py - How large a network is, and the options that set it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import Option
from toy_gpt_train.nn.rotation import RopeScaling
from toy_gpt_train.training.steps import OPTIMIZERS, SCHEDULES

KEPT: Final = ("last", "best")
_LARGEST_DIMENSION: Final = 65_536
_LARGEST_ROPE_BASE: Final = 1e9
_SMALLEST_NORM_EPS: Final = 1e-12
_LEAST: Final = {"embedding_dim": 1, "hidden_dim": 0, "heads": 1, "layers": 1, "kv_heads": 0, "head_dim": 0}
_LARGEST_SCALE: Final = 1e6
_LONGEST_ORIGINAL: Final = 1 << 31

# Written only where they differ from the default.
_WHERE_UNUSUAL: Final = ("tied", "kv_heads", "norm_eps", "rope_scaling", "head_dim", "attention_bias", "mlp_bias")
_NEWER: Final = ("bias", "rope_base", *_WHERE_UNUSUAL)  # older files do not have them

_OWN_OPTIONS: Final = {  # each for the networks that use it
    "embedding_dim": Option(int, "C", "values per token"),
    "hidden_dim": Option(int, "F", "size of the feed-forward layer; in embeddings of a hidden layer", flag="hidden"),
    "heads": Option(int, "H", "attention heads"),
    "layers": Option(int, "L", "Transformer blocks"),
    "kv_heads": Option(
        int, "H", "heads of keys and values, each shared by several heads of queries (default: as many as heads)"
    ),
    "tied": Option(bool, "", "the output layer shares the token vectors instead of having weights of its own"),
    "rope_base": Option(float, "B", "rotary positions: a smaller base tells near tokens better apart (default: 10000)"),
    "attention_bias": Option(
        bool, "", "attention with biases: a head soon looks at a distance, whatever token is there"
    ),
    "dropout": Option(float, "P", "share of values set to 0 in training"),
    "short_first": Option(
        float, "P", "share of the steps that come first, with twice as many windows half as long (default: 0)"
    ),
    "burn_in": Option(
        float, "P", "share of a window that is only read: what stands before its first tokens is cut off (default: 0)"
    ),
    "start_after": Option(
        str, "TOKEN", "a third of the windows begin right after this token, which ends a text, such as <end>"
    ),
    "bias": Option(
        bool,
        "",
        "embeddings, attention: no bias in the output layer; older toy-gpt programs read such files exactly",
        flag="no-bias",
    ),
}
WINDOW_OPTIONS: Final = ("short_first", "burn_in", "start_after")  # of networks that predict every token of a window
_TRAINING_OPTIONS: Final = {
    "steps": Option(int, "S", "batches to learn from"),
    "batch_size": Option(int, "B", "windows per batch"),
    "micro_batch": Option(int, "B", "windows processed at a time (default: a quarter of the batch)", flag="piece-size"),
    "learning_rate": Option(float, "LR", "the largest step size"),
    "schedule": Option(str, "HOW", "how the step size changes after the warm-up (default: cosine)", choices=SCHEDULES),
    "warmup": Option(
        int, "S", "steps until the full learning rate (default: a twentieth of all; none if constant or inverse-sqrt)"
    ),
    "last_rate": Option(
        float, "P", "cosine, linear: the share of the learning rate that is left at the end (default: 0.1)"
    ),
    "optimizer": Option(str, "WHICH", "what turns gradients into steps (default: adamw)", choices=OPTIMIZERS),
    "beta1": Option(float, "B", "AdamW: how slowly the average of the gradient forgets (default: 0.9)"),
    "beta2": Option(float, "B", "AdamW: how slowly the average of its square forgets (default: 0.95)"),
    "weight_decay": Option(float, "D", "AdamW, Muon: share of the learning rate taken off every weight (default: 0.1)"),
    "momentum": Option(float, "M", "SGD: share of the previous step that is kept (default: 0)"),
    "clip": Option(float, "G", "greatest length of a gradient, 0 for any (default: 1)"),
    "eval_every": Option(int, "S", "steps from one line of the log to the next (default: a twentieth of all)"),
    "eval_windows": Option(
        int, "W", "windows of the held-out text measured for each line (default: about 1,000 tokens)"
    ),
    "keep": Option(str, "WHICH", "the weights to keep: the last, or the best on held-out text", choices=KEPT),
}
SIZE_NAMES: Final = ("tiny", "small", "medium", "large", "xl")  # the last two of gpt and llama only


def network_options(*uses: str) -> dict[str, Option]:
    """Return the options of a network: those that all have, and those named.

    Example:
        >>> "heads" in network_options("embedding_dim")
        False
    """
    size = {"size": Option(str, "SIZE", "how large, and how long to train (default: tiny)", choices=SIZE_NAMES)}
    return {**size, **{name: _OWN_OPTIONS[name] for name in uses}, **_TRAINING_OPTIONS}


@dataclass(frozen=True)
class Architecture:
    """How large a network is; each model uses some of these fields."""

    embedding_dim: int  # C, values per token
    hidden_dim: int = 0  # F, values per token in the feed-forward layer; in embeddings the hidden layer, 0 for none
    heads: int = 1  # H, which share the C values
    layers: int = 1  # L blocks
    dropout: float = 0.0  # the share of values set to 0 in training
    rope_base: float = 10_000.0  # the slowest pair of values turns nearly this many times more slowly than the fastest
    bias: bool = True  # whether the output layer of embeddings and attention has one
    tied: bool = False  # whether the output layer of a Transformer shares the token vectors
    kv_heads: int = 0  # in llama the heads of keys and values, 0 for H; each is shared by H / kv_heads of the queries
    norm_eps: float = 1e-5  # what the norms add to a variance
    attention_bias: bool = False  # in llama, whether the linear layers of attention have biases
    # No options: these are of imported models alone.
    rope_scaling: RopeScaling | None = None
    head_dim: int = 0  # in llama the values per head, 0 for C / H
    mlp_bias: bool = False  # the same, of the feed-forward layer

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            # WHY more: the feed-forward layer follows the embedding, whose size is then what the message is about.
            most = _LARGEST_DIMENSION * (4 if name == "hidden_dim" else 1)
            if not least <= value <= most:
                shown = value if abs(value) < 10**12 else "a number far too large"
                raise InputError(f"{name} must be from {least} to {most}, got {shown}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not 1 <= self.rope_base <= _LARGEST_ROPE_BASE:
            raise InputError(f"rope_base must be from 1 to {_LARGEST_ROPE_BASE:g}, got {self.rope_base}")
        if self.embedding_dim % self.heads:
            raise InputError(f"{self.heads} heads cannot share an embedding of {self.embedding_dim} numbers evenly")
        if self.kv_heads and self.heads % self.kv_heads:
            raise InputError(f"{self.heads} heads cannot share {self.kv_heads} heads of keys and values evenly")
        if not _SMALLEST_NORM_EPS <= self.norm_eps <= 1:
            raise InputError(f"norm_eps must be from {_SMALLEST_NORM_EPS:g} to 1, got {self.norm_eps}")
        if self.rope_scaling is not None:
            _check_scaling(self.rope_scaling)

    @property
    def head_size(self) -> int:
        """D, the values per head."""
        return self.head_dim or self.embedding_dim // self.heads

    @staticmethod
    def from_mapping(numbers: Mapping[str, Any]) -> "Architecture":
        """Return the architecture in a run's metadata; InputError if a number is missing, unknown or makes no sense.

        Example:
            >>> numbers = {"embedding_dim": 8, "hidden_dim": 32, "heads": 2, "layers": 1, "dropout": 0.0}
            >>> Architecture.from_mapping(numbers).heads
            2
        """
        _check_types(numbers, Architecture, "architecture")
        scaling = numbers.get("rope_scaling")
        if scaling is None:
            return Architecture(**numbers)
        if not isinstance(scaling, dict):
            raise InputError("rope_scaling of the architecture is not an object")
        _check_types(scaling, RopeScaling, "rope_scaling")
        return Architecture(**{**numbers, "rope_scaling": RopeScaling(**scaling)})

    def as_mapping(self) -> dict[str, Any]:
        """Return what from_mapping() reads.

        Example:
            >>> "tied" in Architecture(8).as_mapping(), Architecture(8, tied=True).as_mapping()["tied"]
            (False, True)
        """
        usual = asdict(Architecture(self.embedding_dim))
        return {k: v for k, v in asdict(self).items() if k not in _WHERE_UNUSUAL or v != usual[k]}


def _check_types(numbers: Mapping[str, Any], kind: Any, what: str) -> None:
    """Refuse a number that is missing, unknown or of another type than the field of a dataclass."""
    known = {field.name: field.type for field in fields(kind)}
    for name, value in numbers.items():
        if name not in known:
            raise InputError(f"the {what} has an unknown number {name[:40]!r}")
        expected: Any = known[name]
        if expected not in (bool, int, float):
            continue
        if isinstance(value, bool) != (expected is bool) or not isinstance(value, (int, expected)):
            raise InputError(f"{name} of the {what} is not of type {expected.__name__}")
    for name in known:
        if name not in numbers and name not in _NEWER:
            raise InputError(f"the {what} has no {name}")


def _check_scaling(scaling: RopeScaling) -> None:
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    if not 1 <= scaling.factor <= _LARGEST_SCALE:
        raise InputError(f"the factor of rope_scaling must be from 1 to {_LARGEST_SCALE:g}, got {scaling.factor}")
    if not 0 <= scaling.original_context <= _LONGEST_ORIGINAL:
        raise InputError(f"original_context of rope_scaling must be from 0 to {_LONGEST_ORIGINAL}")
    if scaling.original_context and not 0 < low < high <= _LARGEST_SCALE:
        problem = "must be above 0, the second one above the first"
        raise InputError(f"low_freq_factor and high_freq_factor of rope_scaling {problem}, got {low} and {high}")
