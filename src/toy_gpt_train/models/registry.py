"""levels.py - The ladder: one record a rung.

It says which rungs there are, in which order, and what each adds; how a rung computes is in its model's file.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.attention import AttentionModel
from toy_gpt_train.models.embeddings import EmbeddingsModel
from toy_gpt_train.models.gpt import GPTModel
from toy_gpt_train.models.kneser_ney import KneserNeyModel
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.mixture import SHORTEST_TEXT, MixtureModel
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.models.sizes import DEFAULT_SIZE, SIZES
from toy_gpt_train.models.tables import CountingModel
from toy_gpt_train.models.views import LOOK_BACK


@dataclass(frozen=True)
class Level:
    """One rung of the ladder.

    Attributes:
        code: Its place on the ladder, for example 400.
        kind: The name used on the command line, for example ``context-3``.
        context_size: N, how many tokens it looks back; where ``fixed_context`` is False, the default.
        adds: What it adds to the rung before, in a few words.
        model: Its class, called with a vocabulary size and a context size, and a network's with its architecture too.
        fixed_context: Whether the kind itself says what N is.
        shortest_text: How many tokens it needs to learn from; N + 1 where None.
    """

    code: int
    kind: str
    context_size: int
    adds: str
    model: type[SimpleNextTokenModel] | type[CountingModel] | type[NeuralModel] = SimpleNextTokenModel
    fixed_context: bool = True
    shortest_text: int | None = None

    @property
    def least_tokens(self) -> int:
        """How many tokens the rung needs to learn from."""
        return self.context_size + 1 if self.shortest_text is None else self.shortest_text

    @property
    def folder(self) -> str:
        """The rung's folder in artifacts/ladder/, for example ``400-context-3``."""
        return f"{self.code}-{self.kind}"


def _neural(code: int, kind: str, adds: str, model: type[NeuralModel]) -> Level:
    return Level(code, kind, SIZES[kind][DEFAULT_SIZE].context, adds, model, fixed_context=False)


LEVELS: Final = (
    Level(100, "unigram", 0, "frequencies, no context"),
    Level(200, "bigram", 1, "one token of context"),
    Level(300, "context-2", 2, "a window of two tokens that slides"),
    Level(400, "context-3", 3, "a longer window; the table explodes: V to the 3 rows"),
    Level(450, "kneser-ney", 4, "back-off: ask a shorter context where a long one says little", KneserNeyModel, False),
    Level(
        460,
        "mixture",
        LOOK_BACK,
        "several memories, and learning how far to trust each",
        MixtureModel,
        shortest_text=SHORTEST_TEXT,
    ),
    _neural(500, "embeddings", "tokens as learned vectors: what is alike lies close together", EmbeddingsModel),
    _neural(600, "attention", "which earlier token matters, learned", AttentionModel),
    _neural(700, "gpt", "the Transformer: heads, blocks, LayerNorm, learned positions", GPTModel),
    _neural(800, "llama", "the modern block: RMSNorm, RoPE, SwiGLU", LlamaModel),
)


def level_for_kind(kind: str, context_size: int | None = None) -> Level:
    """Return the rung of a kind; ``context-N`` exists for any N.

    Args:
        kind: For example ``bigram`` or ``context-5``.
        context_size: N for a rung that leaves it open; its default where None.

    Returns:
        The rung; from context-4 on they share the code 400 of the largest named table.

    Raises:
        InputError: There is no such rung, or N is negative or not the rung's own.

    Example:
        >>> level_for_kind("context-5").context_size
        5
    """
    level = _named_level(kind)
    if context_size is None or context_size == level.context_size:
        return level
    if level.fixed_context:
        raise InputError(f"{kind} looks back {level.context_size} tokens, so --context {context_size} does not fit it")
    least = 1 if issubclass(level.model, NeuralModel) else 0
    if context_size < least:
        raise InputError(f"the context must be at least {least}, got {context_size}")
    return replace(level, context_size=context_size)


def _named_level(kind: str) -> Level:
    for level in LEVELS:
        if level.kind == kind:
            return level
    window = re.fullmatch(r"context-([0-9]{1,4})", kind)
    if window is None:
        known = ", ".join(level.kind for level in LEVELS)
        raise InputError(f"unknown model {kind!r}; there are {known}, and context-N for any N")
    size = int(window[1])
    adds = f"a window of {size} tokens; the table would have V to the {size} rows"
    named = {level.context_size: level for level in LEVELS if level.model is SimpleNextTokenModel}
    return named.get(size) or Level(400, f"context-{size}", size, adds)
