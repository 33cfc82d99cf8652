"""pytorch.py - The engine in PyTorch: the same networks on the same windows, on any processor that PyTorch knows.

In 64 bits it gives the losses of the other engine up to rounding; in 32 bits, the default, they agree in the first
digits and then go their own way, as those of two computers do.
"""

from array import array
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

import torch
from torch.nn import functional

from toy_gpt_train.engine import ranks
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.optim import split_for_muon
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.torch_group import share, total
from toy_gpt_train.nn.torch_network import TorchNetwork, as_array, as_torch, enough_memory
from toy_gpt_train.training.batches import Window
from toy_gpt_train.training.checkpoint import Arrays
from toy_gpt_train.training.engines.stdlib import checked_memory
from toy_gpt_train.training.workers import BatchStats, MicroBatch

# The names that PyTorch gives to what an optimizer remembers.
_PARTS: Final[dict[type[torch.optim.Optimizer], dict[str, str]]] = {
    torch.optim.AdamW: {"first": "exp_avg", "second": "exp_avg_sq"},
    torch.optim.Muon: {"velocity": "momentum_buffer"},
    torch.optim.SGD: {"velocity": "momentum_buffer"},
}


class TorchEngine:
    """An Engine; see there.

    Args:
        network: What learns.
        ours: The network of nn/ that receives the weights at each line of the log, and in the end.
        settings: StepSettings.
    """

    def __init__(self, network: TorchNetwork, ours: Network, settings: Any) -> None:
        self._ours = ours
        self._network = network
        self._several: Any = None  # what adds up gradients, if there are several processes
        self._settings = settings
        self._named = dict(self._network.module.named_parameters())
        self._optimizers = _optimizers(self._named, settings)

    def __enter__(self) -> "TorchEngine":
        """Let the processes of torchrun, if there are several, add up their gradients."""
        self._several = self._network.distribute(ranks().number > 1)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the other processes."""
        self._several = None
        self._network.distribute(False)

    def gradient(self, micro_batches: Sequence[MicroBatch]) -> tuple[BatchStats, float]:
        """Compute the gradient of a batch's mean loss, and clip it."""
        self._network.module.train()
        self._network.module.zero_grad()
        results: list[torch.Tensor] = []
        for number, micro_batch in enumerate(micro_batches, start=1):
            torch.manual_seed(micro_batch.seed + ranks().rank)  # of dropout
            # WHY only after the last micro-batch: adding up over a network takes time.
            is_last = self._several is None or number == len(micro_batches)
            with enough_memory(self._network.device), nullcontext() if is_last else self._several.no_sync():
                loss, result = self._loss(share(micro_batch.windows), micro_batch.burn_in)
                (loss * micro_batch.share).backward()
            results.append(result)
        parameters = self._named.values()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._settings.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._settings.clip, norm)
        return _sum(results), norm.item()

    def _loss(self, windows: Sequence[Window], burn_in: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss, and the sums that _sum() adds up."""
        ids = torch.tensor(windows, device=self._network.device)
        logits = self._network.logits(ids[:, :-1])[:, burn_in:]
        targets = ids[:, -logits.shape[1] :].flatten()  # one of each window for model 500
        rows = logits.flatten(0, 1)
        loss = functional.cross_entropy(rows, targets)
        with torch.no_grad():
            correct = (rows.argmax(-1) == targets).sum()
            return loss, torch.stack([loss * len(targets), loss.new_tensor(len(targets)), correct.to(loss)])

    def step(self, learning_rate: float) -> None:
        """Change the weights by the last gradient."""
        for _, optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()

    def measure(self, micro_batches: Sequence[MicroBatch]) -> BatchStats:
        """Return the result of some windows, without dropout."""
        self._network.module.eval()
        nothing = [torch.zeros(3, device=self._network.device, dtype=self._network.dtype)]
        with torch.no_grad(), enough_memory(self._network.device):
            mine = ((windows, batch.burn_in) for batch in micro_batches if (windows := share(batch.windows)))
            return _sum([self._loss(windows, burn_in)[1] for windows, burn_in in mine] or nothing)

    def publish(self) -> None:
        """Give the weights of now to the network that all this is for."""
        self._ours.load_state_dict({name: Tensor(data, shape) for name, (shape, data) in self.weights().items()})

    def weights(self) -> Arrays:
        """Return a copy of the weights, by name."""
        return {name: (tuple(p.shape), as_array(p)) for name, p in self._named.items()}

    def load_weights(self, weights: Arrays) -> None:
        """Take over weights."""
        self._network.load({name: Tensor(data, shape) for name, (shape, data) in weights.items()})

    def remembered(self) -> Arrays:
        """Return what the optimizer remembers."""
        remembered: dict[str, tuple[tuple[int, ...], array[float]]] = {}
        for named, optimizer in self._optimizers:
            for part, torch_name in _PARTS[type(optimizer)].items():
                for name, parameter in named.items():
                    numbers = optimizer.state[parameter].get(torch_name)
                    values = array("d", bytes(8 * parameter.numel())) if numbers is None else as_array(numbers)
                    remembered[f"{part}.{name}"] = tuple(parameter.shape), values
        return remembered

    def remember(self, remembered: Arrays, steps: int) -> None:
        """Take that over."""
        for named, optimizer in self._optimizers:
            for part, torch_name in _PARTS[type(optimizer)].items():
                for name, parameter in named.items():
                    data = checked_memory(remembered, part, name, tuple(parameter.shape))
                    state = optimizer.state[parameter]
                    state[torch_name] = as_torch(data, parameter.shape).to(parameter)
                    if part == "first":
                        state["step"] = torch.tensor(float(steps))


def _optimizers(named: Mapping[str, Any], settings: Any) -> list[tuple[dict[str, Any], torch.optim.Optimizer]]:
    """Return what changes the parameters, each with those that it changes."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return [({**named}, torch.optim.SGD(list(named.values()), rate, settings.momentum))]
    matrices, others = split_for_muon(named) if settings.optimizer == "muon" else ({}, {**named})
    betas = settings.beta1, settings.beta2
    adamw = torch.optim.AdamW(list(others.values()), rate, betas, weight_decay=decay)
    if not matrices:  # an optimizer of nothing is an error in PyTorch
        return [(others, adamw)]
    return [(matrices, torch.optim.Muon(list(matrices.values()), rate, decay)), (others, adamw)]


def _sum(results: Sequence[torch.Tensor]) -> BatchStats:
    """Add up what _loss() returned of each micro-batch, in all processes."""
    # WHY only here: reading a number waits for the processor, and between micro-batches it need not wait.
    loss, num_tokens, correct = total(torch.stack(list(results)).sum(0)).tolist()  # float32 counts exactly up to 2^24
    return BatchStats(loss / num_tokens, int(num_tokens), int(correct))
