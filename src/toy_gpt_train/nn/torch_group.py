"""torch_group.py - Several processes that train one network together, on one computer or on many; torchrun starts them.

Each has a copy of the network, and takes its share of the same windows. PyTorch adds up their gradients, so all of them
make the same step: together they do what one process would do. In a process that is alone, nothing here has an effect.
"""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from toy_gpt_train.engine import ranks
from toy_gpt_train.errors import InputError

_PATIENCE: Final = timedelta(minutes=10)  # rank 0 may be writing a large checkpoint meanwhile

Item = TypeVar("Item")


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun has started.

    Raises:
        OSError: The others cannot be reached, or one of them has ended.
    """
    if (here := ranks()).number == 1:
        yield
        return
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, rank, number = next(rendezvous("env://", timeout=_PATIENCE))
        # WHY a name of its own for each attempt: after a restart, the store still has the addresses of the dead.
        store = distributed.PrefixStore(f"attempt_{here.restarts}", store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=number, timeout=_PATIENCE)
        yield
    except RuntimeError as error:  # WHY this wide: gloo's errors are of no narrower kind
        words = str(error).lower()
        if not any(word in words for word in ("peer", "connection", "gloo", "nccl", "timeout", "timed out", "socket")):
            raise
        raise OSError(
            f"rank {here.rank}: another of the {here.number} processes has ended, so training ends"
        ) from error
    finally:
        if distributed.is_initialized():
            # WHY first: what still refers to the group keeps its threads running, and one that is busy when Python ends
            # takes the process down with it.
            gc.collect()
            distributed.destroy_process_group()


def agree(identity: Mapping[str, Any], device: torch.device) -> None:
    """Compare what the processes are going to do; InputError in those that differ from the first."""
    if not distributed.is_initialized():
        return
    hashes = [sha256(json.dumps(value).encode()).digest()[:7] for value in identity.values()]
    mine = torch.tensor([int.from_bytes(one, "big") for one in hashes], device=device)
    first = mine.clone()
    distributed.broadcast(first, 0)
    for name, is_same in zip(identity, (mine == first).tolist(), strict=True):
        if not is_same:
            what = name.replace("_", " ")
            raise InputError(f"rank {ranks().rank} has another {what} than rank 0: {json.dumps(identity[name]):.40}")


def share(items: Sequence[Item]) -> Sequence[Item]:
    """Return the items that this process takes care of."""
    here = ranks()
    return items[here.rank :: here.number] if distributed.is_initialized() else items


def total(numbers: torch.Tensor) -> torch.Tensor:
    """Return the sum of what the processes have, element by element."""
    if distributed.is_initialized():
        distributed.all_reduce(numbers)
    return numbers
