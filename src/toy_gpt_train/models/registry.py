"""registry.py - The ladder: one line per model. The file of a model is imported when it is used."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import Model

# Only a model that trains in steps has a use for these; the values here ask for nothing.
STEP_OPTIONS: Final[dict[str, Any]] = {
    "workers": 1,  # processes that share the work; they change no number
    "engine": "stdlib",  # what computes: ``stdlib``, ``torch``, or ``auto``
    "device": "auto",  # where PyTorch computes
    "dtype": "float32",  # in which numbers it does
    "compile": False,  # whether it translates the network first
    "checkpoint_every": None,  # steps from one checkpoint to the next; 0 for none, None for one per minute
    "keep_checkpoint": True,  # whether the last one stays when the run is written, so that it can be resumed
    "resume": False,  # whether to continue from the newest one
    "more_steps": None,  # how many steps a resumed run does from there, instead of ``steps`` in all
}
# N where the older toy-gpt series uses a name of today for a table that looks back one token more.
_OLDER_CONTEXTS: Final = {"unigram": 1, "bigram": 2}
MOST_WORKERS: Final = 256  # each is a Python of its own, of 20 MB and more


@dataclass(frozen=True)
class ModelEntry:
    """One model of the ladder."""

    code: int  # its position on the ladder, for example 400
    name: str  # for example ``context-3``
    adds: str  # what it adds to the model before
    where: str  # its class, as ``module:Class`` in models/
    context: int | None = None  # N, if the name fixes it; None if it can be chosen

    @property
    def model_class(self) -> type[Model]:
        """The class of the model."""
        module, _, name = self.where.partition(":")
        found: type[Model] = getattr(import_module(f"toy_gpt_train.models.{module}"), name)
        return found

    @property
    def default_context(self) -> int:
        """N, if it is not chosen."""
        return self.model_class.default_context if self.context is None else self.context

    @property
    def folder(self) -> str:
        """The folder of its committed runs in artifacts/ladder/, for example ``400-context-3``."""
        return f"{self.code}-{self.name}"

    def chosen_context(self, context: int | None) -> int | None:
        """Return N: the one that the name fixes, or the chosen one, checked; None for the default."""
        if context is None or context == self.context:
            return self.context
        if self.context is not None:
            tokens = f"{self.context} token{'s' * (self.context != 1)}"
            raise InputError(f"{self.name} looks back {tokens}, so a context of {context} does not fit it")
        if context < (smallest := self.model_class.smallest_context):
            raise InputError(f"the context must be at least {smallest}, got {context}")
        return context

    def may_have(self, context: int) -> bool:
        """Whether a run of this name may look back so many tokens."""
        return self.context in (None, context) or _OLDER_CONTEXTS.get(self.name) == context

    def unused_options(self, options: Mapping[str, Any]) -> list[str]:
        """Return the names of the options that mean nothing to the model; some may be those of STEP_OPTIONS."""
        model = self.model_class
        given = [name for name, value in options.items() if STEP_OPTIONS.get(name) != value]
        return [n for n in given if not (model.trains_in_steps if n in STEP_OPTIONS else n in model.options)]

    def check_length(self, context: int, num_train: int, text: object) -> None:
        """Refuse, with InputError, a text that is too short to learn from; ``text`` is its name."""
        if num_train < (needed := self.model_class.min_tokens(context)):
            more = "; give it more text, or a smaller context" if self.context is None else ""
            raise InputError(
                f"{text}: {num_train} training tokens are too few: {self.name} needs at least {needed}{more}"
            )


_TABLE: Final = "ngram_table:NGramTable"
LADDER: Final = (
    ModelEntry(100, "unigram", "frequencies, no context", _TABLE, 0),
    ModelEntry(200, "bigram", "one token of context", _TABLE, 1),
    ModelEntry(300, "context-2", "a window of two tokens that slides", _TABLE, 2),
    ModelEntry(400, "context-3", "a longer window; a full table would have V to the 3 rows", _TABLE, 3),
    ModelEntry(
        450, "kneser-ney", "back-off: ask a shorter context when a long one says little", "kneser_ney:KneserNey"
    ),
    ModelEntry(460, "mixture", "several memories, and learning how far to trust each", "mixture:Mixture", 64),
    ModelEntry(
        470, "context-mixing", "counters, weighed bit by bit; it can go on learning", "context_mixing:ContextMixing", 64
    ),
    ModelEntry(
        500, "embeddings", "tokens as learned vectors: similar tokens end up close", "embeddings:EmbeddingsModel"
    ),
    ModelEntry(600, "attention", "which earlier token matters, learned", "attention:AttentionModel"),
    ModelEntry(700, "gpt", "the Transformer: heads, blocks, LayerNorm, learned positions", "gpt:GPTModel"),
    ModelEntry(800, "llama", "the modern block: RMSNorm, RoPE, SwiGLU", "llama:LlamaModel"),
)
# What other software has counted; a run may be of it, but nothing here trains it.
IMPORTED: Final = (ModelEntry(450, "back-off", "n-grams and back-off weights from an ARPA file", "backoff:Backoff"),)


def model_of_run(name: str) -> ModelEntry:
    """Return the entry of the model of a run, which may be imported; otherwise as find_model()."""
    return next((entry for entry in IMPORTED if entry.name == name), None) or find_model(name)


def find_model(name: str) -> ModelEntry:
    """Return the entry of a model, or raise InputError; ``context-N`` exists for any N, from 4 on with the code 400.

    ``context2``, as the older toy-gpt series calls it, is context-2, and keeps its name.
    """
    if name in (entry.name for entry in IMPORTED):
        raise InputError(f"{name} is imported (toy-gpt import), not trained")
    for entry in LADDER:
        if entry.name == name:
            return entry
    window = re.fullmatch(r"context(-?)([0-9]{1,4})", name)
    if window is None:
        known = ", ".join(entry.name for entry in LADDER)
        raise InputError(f"unknown model {name!r:.60}; there are {known}, and context-N for any N")
    size = int(window[2])
    named = {entry.context: entry for entry in LADDER if entry.where == _TABLE}
    adds = f"a window of {size} tokens; a full table would have V to the {size} rows"
    entry = named.get(size) or ModelEntry(400, f"context-{size}", adds, _TABLE, size)
    return entry if window[1] else replace(entry, name=f"context{size}")
