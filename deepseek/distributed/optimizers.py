"""The optimizer of a shard, over one flat vector; the same numbers as torch.optim's.

Written out because the first use of torch.optim imports torch's compiler, for which a server would wait for seconds.
"""

import math

import torch
from torch import Tensor

from deepseek.distributed.options import FitOptions

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class ShardOptimizer:
    """Changes a shard's parameters in place. Its state belongs to the shard and goes into the shard's checkpoint."""

    def __init__(self, parameters: Tensor, options: FitOptions) -> None:
        self._parameters, self._options = parameters, options
        self._state: dict[str, Tensor] = {}

    def step(self, gradient: Tensor, lr: float) -> None:
        """One step; does not change `gradient`, which may be memory of a worker."""
        options = self._options
        if options.weight_decay:
            if options.optimizer == "adamw":
                self._parameters.mul_(1 - lr * options.weight_decay)
            else:
                gradient = gradient.add(self._parameters, alpha=options.weight_decay)
        if options.optimizer == "sgd":
            self._step_sgd(gradient, lr)
        else:
            self._step_adam(gradient, lr)

    def _step_sgd(self, gradient: Tensor, lr: float) -> None:
        if self._options.momentum:
            velocity = self._state.get("momentum_buffer")
            if velocity is None:
                velocity = self._state["momentum_buffer"] = gradient.clone()
            else:
                velocity.mul_(self._options.momentum).add_(gradient)
            gradient = velocity
        self._parameters.add_(gradient, alpha=-lr)

    def _step_adam(self, gradient: Tensor, lr: float) -> None:
        if not self._state:
            self._state = {
                "step": torch.zeros((), dtype=torch.int64),
                "exp_avg": torch.zeros_like(gradient),
                "exp_avg_sq": torch.zeros_like(gradient),
            }
        step = int(self._state["step"].add_(1))
        average = self._state["exp_avg"].lerp_(gradient, 1 - BETAS[0])
        squares = self._state["exp_avg_sq"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        rate = lr / (1 - BETAS[0] ** step)
        denominator = squares.sqrt().div_(math.sqrt(1 - BETAS[1] ** step)).add_(EPSILON)
        self._parameters.addcdiv_(average, denominator, value=-rate)

    def dump_state(self) -> dict[str, Tensor]:
        """Its tensors, by name."""
        return dict(self._state)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `dump_state` returned."""
        self._state = dict(state)
