"""Toy-GPT Train: how language models are really trained, in the Python standard library.

    import toy_gpt_train as tg
    run = tg.train("bigram", "my.txt")     # a path; or text="…"
    run.generate("The ", 50)

To learn how it works, read the lettered modules in order: a_tokenizer, b_vocab, c_model, d_train, e_infer, f_gpt.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from toy_gpt_train.errors import InputError, InputWarning, StopTraining
    from toy_gpt_train.noise import untrained
    from toy_gpt_train.run import Run, load, train

    models: Callable[[], list[str]]

# Each name of the public API, and the module it comes from, which is imported when the name is used.
_PLACES = {
    "InputError": "errors",
    "InputWarning": "errors",
    "StopTraining": "errors",
    "Run": "run",
    "load": "run",
    "train": "run",
    "untrained": "noise",
}

__all__ = ["InputError", "InputWarning", "Run", "StopTraining", "__version__", "load", "models", "train", "untrained"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("toy-gpt-train")
        except PackageNotFoundError:  # the source tree on sys.path without an installation
            return "0+source"
    if name == "models":
        return import_module(f"{__name__}.models")  # a package that can be called
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
