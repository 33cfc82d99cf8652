"""parameter_tables.py - The parameters of a network as tables: one file for each, named by what it is for.

A linear layer's matrix is written inputs by outputs, as the W of x W, so that a row shows what one input contributes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import COUNT, NUMBER, TEXT, TOKEN, Column, ModelTable
from toy_gpt_train.nn.kernels import transpose
from toy_gpt_train.nn.tensor import Parameter

InputLabel = Callable[[int], str]  # the label of a row of the output layer's matrix
Row = tuple[Any, ...]

# The numbers keep the files in the order of reading.
_FILE_OF_ROLE: Final = {
    "output.weight": "02_model_weights",
    "token_embeddings.weight": "03_token_embeddings",
    "position_embeddings.weight": "04_positional_embeddings",
    "attention.q_proj.weight": "05_W_Q",
    "attention.k_proj.weight": "06_W_K",
    "attention.v_proj.weight": "07_W_V",
    "attention.q_proj.bias": "08_b_Q",
    "attention.k_proj.bias": "09_b_K",
    "attention.v_proj.bias": "10_b_V",
    "attention.o_proj.weight": "11_W_O",
    "attention.o_proj.bias": "12_b_O",
    "feed_forward.up_proj.weight": "13_W_up",
    "feed_forward.up_proj.bias": "14_b_up",
    "feed_forward.gate_proj.weight": "15_W_gate",
    "feed_forward.down_proj.weight": "16_W_down",
    "feed_forward.down_proj.bias": "17_b_down",
    "hidden.weight": "18_W_hidden",
    "hidden.bias": "19_b_hidden",
    "norm_1.weight": "20_norm_1_gain",
    "norm_1.bias": "21_norm_1_shift",
    "norm_2.weight": "22_norm_2_gain",
    "norm_2.bias": "23_norm_2_shift",
    "norm.weight": "24_final_norm_gain",
    "norm.bias": "25_final_norm_shift",
    "output.bias": "26_output_bias",
    "feed_forward.gate_proj.bias": "27_b_gate",
}
_BY_TOKEN: Final = ("token_embeddings.weight", "output.bias")  # a row for each token of the vocabulary


def parameter_file(name: str) -> str:
    """Return the file that holds a parameter; from the second block on, the block's number is in the name.

    >>> parameter_file("blocks.0.attention.q_proj.weight"), parameter_file("blocks.1.attention.q_proj.weight")
    ('05_W_Q.csv', '05_W_Q_block_2.csv')
    """
    match = re.fullmatch(r"(?:blocks\.([0-9]+)\.)?(.+)", name)
    assert match is not None
    block = f"_block_{int(match[1]) + 1}" if int(match[1] or 0) else ""
    return f"{_FILE_OF_ROLE[match[2]]}{block}.csv"


def _is_matrix(name: str, parameter: Parameter) -> bool:
    """Whether a parameter is the matrix of a linear layer; the others are lists of vectors, and single vectors."""
    return len(parameter.shape) == 2 and not name.endswith("embeddings.weight")


def parameter_table(name: str, parameter: Parameter, input_label: InputLabel) -> ModelTable:
    """Return a parameter as a table."""
    labels = _labels(name, parameter, input_label)
    return ModelTable(
        parameter_file(name), parameter_columns(name, parameter), len(labels), _rows(name, parameter, labels)
    )


def parameter_columns(name: str, parameter: Parameter) -> tuple[Column, ...]:
    """Return the columns of a parameter's table."""
    if name == "output.weight":
        return Column("input_token", TEXT), Column("", NUMBER, by_token=True)
    if len(parameter.shape) == 1:
        numbers = [Column("value", NUMBER)]
    else:
        width = parameter.shape[0] if _is_matrix(name, parameter) else parameter.shape[1]
        numbers = [Column(f"dim_{j}", NUMBER) for j in range(width)]
    if name in _BY_TOKEN:
        return Column("token_id", COUNT), Column("token", TOKEN), *numbers
    return Column("position" if name.startswith("position") else "dim", COUNT), *numbers


def read_parameter(name: str, parameter: Parameter, input_label: InputLabel, rows: Iterable[Row]) -> list[float]:
    """Return the numbers of a parameter, row-major, from its table; InputError if rows or labels do not fit."""
    labels = _labels(name, parameter, input_label)
    read = list(islice(rows, len(labels) + 1))
    if len(read) != len(labels):
        more = "more" if len(read) > len(labels) else len(read)
        raise InputError(f"{parameter_file(name)}: {more} rows where the network has {len(labels)}")
    numbers: list[float] = []
    for label, row in zip(labels, read, strict=True):
        if row[: len(label)] not in (label, (None,)):  # None: its place says which row it is
            found = str(row[0])[:40]
            raise InputError(f"{parameter_file(name)}: a row begins {found!r} where {label[0]!r} should be")
        numbers += row[len(label) :]
    return transpose(numbers, parameter.shape[1], parameter.shape[0]) if _is_matrix(name, parameter) else numbers


def _labels(name: str, parameter: Parameter, input_label: InputLabel) -> list[Row]:  # of each row
    rows = parameter.shape[1] if _is_matrix(name, parameter) else parameter.shape[0]
    if name == "output.weight":
        return [(input_label(i),) for i in range(rows)]
    return [(i, i) if name in _BY_TOKEN else (i,) for i in range(rows)]


def _rows(name: str, parameter: Parameter, labels: Sequence[Row]) -> Iterator[Row]:
    numbers = transpose(parameter.data, *parameter.shape) if _is_matrix(name, parameter) else parameter.data
    size = len(numbers) // len(labels)
    for i, label in enumerate(labels):
        yield *label, *numbers[i * size : (i + 1) * size]
