"""torch_network.py - A network that PyTorch computes, with weights that come from nn/ and go back there."""

from array import array
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from toy_gpt_train.engine import Choice
from toy_gpt_train.errors import InputError
from toy_gpt_train.nn.tensor import Tensor


def chosen_device(name: str) -> torch.device:
    """Return a device; InputError if this computer does not have it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {name!r:.40} cannot be used: {reason:.200}") from error


class TorchNetwork:
    """A network of torch_networks.py with weights of ours, on a device.

    Args:
        module: The network, with any weights.
        state: The weights, by name.
        choice: Where it computes, and in which numbers.
    """

    def __init__(self, module: torch.nn.Module, state: Mapping[str, Tensor], choice: Choice) -> None:
        self.device = chosen_device(choice.device)
        self._autocast = choice.dtype == "bfloat16"
        dtype = torch.float64 if choice.dtype == "float64" else torch.float32
        if dtype == torch.float64 and self.device.type == "mps":
            raise InputError("the device 'mps' has no 64-bit numbers: choose --dtype float32")
        self.module = module.to(self.device, dtype)
        self.load(state)
        self._forward: Any = torch.compile(self.module) if choice.compile else self.module

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights, Tensors by name; ValueError if they do not fit."""
        own = dict(self.module.named_parameters())
        if own.keys() != state.keys():
            raise ValueError(f"the parameters are not the same: {', '.join(sorted(own.keys() ^ state.keys()))}")
        for name, parameter in own.items():
            if tuple(parameter.shape) != state[name].shape:
                raise ValueError(f"{name} has shape {tuple(parameter.shape)}, not {state[name].shape}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(as_torch(state[name].data, parameter.shape).to(parameter.dtype))

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits, in at least 32 bits, for sequences of ids on the device."""
        with torch.autocast(self.device.type, torch.bfloat16) if self._autocast else nullcontext():
            logits: torch.Tensor = self._forward(ids)
        return logits.float() if self._autocast else logits

    def read(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the logits as the networks of nn/ do, (B, T, V)."""
        self.module.eval()
        with torch.inference_mode():
            logits = self.logits(torch.tensor([list(window) for window in windows], device=self.device))
        return Tensor(logits.cpu().double().flatten().tolist(), tuple(logits.shape), exact=True)


def as_torch(data: Any, shape: Sequence[int]) -> torch.Tensor:
    """Return an array of doubles as a tensor in 64 bits, a copy."""
    return torch.frombuffer(array("d", data), dtype=torch.float64).reshape(tuple(shape))


def as_array(tensor: torch.Tensor) -> "array[float]":
    """Return the values of a tensor as an array of doubles."""
    return array("d", tensor.detach().cpu().double().flatten().tolist())
