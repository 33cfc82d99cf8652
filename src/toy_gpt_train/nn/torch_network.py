"""torch_network.py - A network that PyTorch computes, with weights that come from nn/ and go back there."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from toy_gpt_train.engine import Choice, ranks
from toy_gpt_train.errors import InputError
from toy_gpt_train.nn.kv_cache import same_beginning
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.torch_group import share, total

Targets = Sequence[int]


def chosen_device(name: str) -> torch.device:
    """Return a device; InputError if this computer does not have it. Of several processes, each takes a card."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and (here := ranks()).number > 1:
        name = f"cuda:{here.local_rank}"
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {name!r:.40} cannot be used: {reason:.200}") from error


def check_dtype(dtype: str, device: torch.device) -> None:
    """Refuse numbers that a device does not have."""
    is_old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if (dtype == "float64" and device.type == "mps") or (dtype == "bfloat16" and is_old):
        raise InputError(f"the device {device.type!r} has no {dtype}: choose --dtype float32")


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """Say what to do where memory ends."""
    try:
        yield
    except RuntimeError as error:  # of a processor, it has no narrower kind
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            lower = "lower --batch-size or --context, or compute a batch in parts: --piece-size"
            raise InputError(f"the memory of the device {device.type!r} is too small for this: {lower}") from error
        raise


class TextCache:
    """The keys and values of texts of one length, as torch_networks.py keeps them."""

    def __init__(self) -> None:
        self.windows: list[list[int]] = []  # the tokens they belong to
        self.blocks: list[list[torch.Tensor]] = []

    def cut(self, windows: Sequence[Sequence[int]], num_blocks: int) -> int:
        """Forget what differs from some windows; return how many of their tokens are left, never all."""
        known = 0
        if len(self.windows) == len(windows):
            known = min(map(same_beginning, self.windows, (window[:-1] for window in windows)))
        if known:
            self.blocks = [[part[:, :, :known] for part in block] for block in self.blocks]
        else:
            self.blocks = [[] for _ in range(num_blocks)]
        self.windows = []  # WHY: if reading is interrupted, nothing half-read counts
        return known


class TorchNetwork:
    """A network of torch_networks.py with weights of ours, on a device.

    Args:
        module: The network, with any weights.
        state: The weights, by name.
        choice: Where it computes, and in which numbers.
    """

    def __init__(self, module: torch.nn.Module, state: Mapping[str, Tensor], choice: Choice) -> None:
        self.device = chosen_device(choice.device)
        check_dtype(choice.dtype, self.device)
        self._autocast = choice.dtype == "bfloat16"
        self.dtype = torch.float64 if choice.dtype == "float64" else torch.float32
        with enough_memory(self.device):
            self.module = module.to(self.device, self.dtype)
        self.load(state)
        self._alone: Any = torch.compile(self.module) if choice.compile else self.module
        self._forward = self._alone

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

    def distribute(self, is_shared: bool) -> Any:
        """Let the processes of torchrun add up their gradients, or no longer; return what does it, or None."""
        if not is_shared:
            self._forward = self._alone
            return None
        card = [self.device] if self.device.type == "cuda" else None
        self._forward = torch.nn.parallel.DistributedDataParallel(self._alone, device_ids=card)
        return self._forward

    def logits(self, ids: torch.Tensor, **how: Any) -> torch.Tensor:
        """Return the logits, in at least 32 bits, for sequences of ids on the device."""
        with torch.autocast(self.device.type, torch.bfloat16) if self._autocast else nullcontext():
            logits: torch.Tensor = self._forward(ids, **how)
        return logits.float() if self._autocast else logits

    def new_cache(self) -> "TextCache":
        """Return an empty cache of a Transformer. It is valid while the weights do not change."""
        return TextCache()

    def read(self, windows: Sequence[Sequence[int]], cache: "TextCache | None" = None) -> Tensor:
        """Return the logits as the networks of nn/ do, (B, T, V); with a cache, of the tokens that it does not have."""
        if cache is None:
            logits = self._predicted(windows)
        else:
            known = cache.cut(windows, len(self.module.blocks))
            logits = self._predicted([window[known:] for window in windows], caches=cache.blocks)
            cache.windows = [list(window) for window in windows]
        return Tensor(logits.cpu().double().flatten().tolist(), tuple(logits.shape), exact=True)

    def _predicted(self, windows: Sequence[Sequence[int]], **how: Any) -> torch.Tensor:
        self.module.eval()
        with torch.inference_mode(), enough_memory(self.device):
            return self.logits(torch.tensor([list(window) for window in windows], device=self.device), **how)

    def score(self, windows: Sequence[tuple[Sequence[int], Targets]]) -> Iterator[tuple[float, int]]:
        """Yield, for each target of some windows of one length, how likely it was, and the most likely id.

        A window comes with the targets that its last positions predict. The processes of torchrun share the windows,
        and all of them get all results.
        """
        longest = max(len(targets) for _, targets in windows)
        found = torch.zeros(2, len(windows), longest, dtype=self.dtype, device=self.device)
        if rows := list(share(range(len(windows)))):
            logits = self._predicted([windows[row][0] for row in rows])[:, -longest:]
            padded = [[*[0] * (longest - len(windows[row][1])), *windows[row][1]] for row in rows]
            wanted = torch.tensor(padded, device=self.device).unsqueeze(-1)
            found[0, rows] = logits.softmax(-1).gather(-1, wanted).squeeze(-1)
            found[1, rows] = logits.argmax(-1).to(self.dtype)
        probabilities, likeliest = total(found).tolist()
        for row, (_, targets) in enumerate(windows):
            begin = longest - len(targets)
            yield from zip(probabilities[row][begin:], map(int, likeliest[row][begin:]), strict=True)


def as_torch(data: Any, shape: Sequence[int]) -> torch.Tensor:
    """Return an array of doubles as a tensor in 64 bits, a copy."""
    return torch.frombuffer(array("d", data), dtype=torch.float64).reshape(tuple(shape))


def as_array(tensor: torch.Tensor) -> "array[float]":
    """Return the values of a tensor as an array of doubles."""
    return array("d", tensor.detach().cpu().double().numpy().tobytes())
