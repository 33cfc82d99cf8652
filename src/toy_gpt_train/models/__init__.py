"""models/ - Step c grown up: one file for each model, with one interface (base.py), on one ladder (registry.py)."""

import sys
from types import ModuleType


class _Models(ModuleType):
    """This package; it can be called as well.

    WHY: ``import toy_gpt_train as tg; tg.models()`` is part of the public API, and Python puts this package under the
    same name.
    """

    def __call__(self) -> list[str]:
        """Return the names of all models, in the order of the ladder; ``context-N`` exists for any N."""
        from toy_gpt_train.models.registry import LADDER

        return [entry.name for entry in LADDER]


sys.modules[__name__].__class__ = _Models
