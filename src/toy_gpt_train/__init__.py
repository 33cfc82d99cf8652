"""Toy-GPT Train: how language models are really trained, in the Python standard library.

Read the lettered modules in order: a_tokenizer, b_vocab, c_model, d_train, e_infer.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("toy-gpt-train")
except PackageNotFoundError:  # the source tree on sys.path without an installation
    __version__ = "0+source"
