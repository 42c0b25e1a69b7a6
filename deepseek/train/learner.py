"""What a family of models brings to the training loop: a network, its examples, and the loss of some of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from deepseek.models.trainable import Trainable
from deepseek.train.split import Parts, Rows

Forward = Callable[..., Tensor]
"""The network's `compute_logits`, in the precision of the training; with several ranks it shares their gradients."""


class Learner(ABC):
    """A fresh network and what it learns from. `parts` counts examples from 0; the loop decides their order."""

    network: Trainable
    parts: Parts
    validation_chunk = 8192  # examples of validation computed at once
    broadcasts_buffers = False  # whether ranks take the first one's buffers before each step, as BatchNorm needs

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Bring the network, and whatever of the examples stays in memory, to `device`."""

    @abstractmethod
    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        """The loss of the examples `rows`, in float32: its sum, or its mean over `count_terms` of them."""

    def count_terms(self, rows: Rows) -> float:
        """What a sum of losses over `rows` is divided by for their mean."""
        return float(len(rows))

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027  most learners draw nothing
        """Called before an epoch's first step, also of one that goes on from a checkpoint."""

    def prepare_ahead(self, rows: Rows) -> None:  # noqa: B027  most learners have their examples at hand
        """Called before each step with the rows that the one after it will learn from: none where an epoch ends."""

    def list_parameters(self) -> Iterable[nn.Parameter]:
        """What the optimizer moves."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def get_weights(self) -> Mapping[str, Tensor]:
        """What a checkpoint and the best epoch hold of the network, by name; no copies."""
        weights: Mapping[str, Tensor] = self.network.state_dict()
        return weights

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take what `get_weights` gave."""
        self.network.load_state_dict(weights)

    def make_whole(self) -> None:  # noqa: B027  most networks are never shared out
        """Replace a network whose parts lie on the ranks by a whole one, on the processor; weights are loaded next."""
