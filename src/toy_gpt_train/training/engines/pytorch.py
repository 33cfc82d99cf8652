"""pytorch.py - The engine in PyTorch: the same networks on the same windows, on any processor that PyTorch knows.

In 64 bits it gives the losses of the other engine up to rounding; in 32 bits, the default, they agree in the first
digits and then go their own way, as those of two computers do.
"""

from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.torch_network import TorchNetwork, as_array, as_torch
from toy_gpt_train.training.batches import Window
from toy_gpt_train.training.checkpoint import Arrays
from toy_gpt_train.training.engines.stdlib import checked_memory
from toy_gpt_train.training.workers import BatchStats, MicroBatch

# The names that PyTorch gives to what an optimizer remembers.
_PARTS = {"adamw": {"first": "exp_avg", "second": "exp_avg_sq"}, "sgd": {"velocity": "momentum_buffer"}}


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
        self._settings = settings
        self._named = dict(self._network.module.named_parameters())
        parameters = list(self._named.values())
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(parameters, settings.learning_rate, settings.momentum)
            if settings.optimizer == "sgd"
            else torch.optim.AdamW(
                parameters,
                settings.learning_rate,
                (settings.beta1, settings.beta2),
                weight_decay=settings.weight_decay,
            )
        )

    def __enter__(self) -> "TorchEngine":
        """Nothing to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def gradient(self, micro_batches: Sequence[MicroBatch]) -> tuple[BatchStats, float]:
        """Compute the gradient of a batch's mean loss, and clip it."""
        self._network.module.train()
        self._optimizer.zero_grad()
        results: list[torch.Tensor] = []
        for micro_batch in micro_batches:
            torch.manual_seed(micro_batch.seed)  # of dropout
            loss, result = self._loss(micro_batch.windows)
            (loss * micro_batch.share).backward()
            results.append(result)
        parameters = self._named.values()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._settings.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._settings.clip, norm)
        return _sum(results), norm.item()

    def _loss(self, windows: Sequence[Window]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss, and the sums that _sum() adds up."""
        ids = torch.tensor(windows, device=self._network.device)
        logits = self._network.logits(ids[:, :-1])
        targets = ids[:, -logits.shape[1] :].flatten()  # one of each window for model 500
        rows = logits.flatten(0, 1)
        loss = functional.cross_entropy(rows, targets)
        with torch.no_grad():
            correct = (rows.argmax(-1) == targets).sum()
            return loss, torch.stack([loss * len(targets), loss.new_tensor(len(targets)), correct.to(loss)])

    def step(self, learning_rate: float) -> None:
        """Change the weights by the last gradient."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()

    def measure(self, micro_batches: Sequence[MicroBatch]) -> BatchStats:
        """Return the result of some windows, without dropout."""
        self._network.module.eval()
        with torch.no_grad():
            return _sum([self._loss(micro_batch.windows)[1] for micro_batch in micro_batches])

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
        for part, torch_name in _PARTS[self._settings.optimizer].items():
            for name, parameter in self._named.items():
                numbers = self._optimizer.state[parameter].get(torch_name)
                values = array("d", bytes(8 * parameter.numel())) if numbers is None else as_array(numbers)
                remembered[f"{part}.{name}"] = tuple(parameter.shape), values
        return remembered

    def remember(self, remembered: Arrays, steps: int) -> None:
        """Take that over."""
        for part, torch_name in _PARTS[self._settings.optimizer].items():
            for name, parameter in self._named.items():
                data = checked_memory(remembered, part, name, tuple(parameter.shape))
                state = self._optimizer.state[parameter]
                state[torch_name] = as_torch(data, parameter.shape).to(parameter)
                if part == "first":
                    state["step"] = torch.tensor(float(steps))


def _sum(results: Sequence[torch.Tensor]) -> BatchStats:
    """Add up what _loss() returned of each micro-batch."""
    # WHY only here: reading a number waits for the processor, and between micro-batches it need not wait.
    loss, num_tokens, correct = torch.stack(list(results)).sum(0).tolist()  # float32 counts exactly up to 2^24
    return BatchStats(loss / num_tokens, int(num_tokens), int(correct))
