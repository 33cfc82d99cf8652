"""shards.py - A large model in several safetensors files, its shards.

An index says what is where, a JSON object: "weight_map" -> an object, a tensor's name to its file's.
"""

import re
from pathlib import Path
from typing import Final

from toy_gpt_train.artifacts.safetensors import MOST_VALUES, LazyTensor, open_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object

_SHARD: Final = re.compile(r"[\w-][\w.-]{0,199}\.safetensors")


def open_shards(index: Path) -> dict[str, LazyTensor]:
    """Return the tensors of a model that is split over files, by name; ``index`` is model.safetensors.index.json.

    InputError if it is damaged, names what is no file beside it, or a shard holds other tensors than it says.
    """
    weight_map = read_json_object(index, unique=True, values=MOST_VALUES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: it has no weight_map")
    names_in: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise InputError(
                f"{index}: tensor {name!r:.60} is in {shard!r:.60}, which is not the name of a shard beside it"
            )
        names_in.setdefault(shard, set()).add(name)
    tensors: dict[str, LazyTensor] = {}
    for shard, expected in sorted(names_in.items()):
        path = index.with_name(shard)
        if not path.is_file():
            raise InputError(f"{path}: missing, but {index.name} names it")
        found, _ = open_safetensors(path)
        for name in sorted(found.keys() ^ expected):
            what = "is not in this shard" if name in expected else "is in this shard"
            raise InputError(f"{path}: tensor {name!r:.60} {what}, which {index.name} contradicts")
        tensors |= found
    return tensors
