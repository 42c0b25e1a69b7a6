"""What every network of ours has in common, whatever family it is of."""

from torch import Tensor, nn


class Trainable(nn.Module):
    """A network that is trained on its logits, and predicts by `forward`."""

    def compute_logits(self, *inputs: Tensor) -> Tensor:
        """What the last layer gives, before it is made into shares or values."""
        raise NotImplementedError
