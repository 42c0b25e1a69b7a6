"""The learning rate and the batch size, as pure functions of how far the training is."""

from typing import Protocol

DECAY_STEPS = 10_000
"""After so many steps each the learning rate falls to a tenth."""


class HasGroups(Protocol):
    """Whatever has parameter groups: any optimizer of torch."""

    param_groups: list[dict[str, object]]


def learning_rate(step: int, warmup_steps: int, init_lr: float, max_lr: float) -> float:
    """The learning rate of step `step`, counted from 0.

    It grows in a straight line from `init_lr` to `max_lr` over `warmup_steps` steps; from then on it is
    ``max_lr * 0.1 ** (step // 10000)``, where `step` counts from the very first one, the warm-up included.
    """
    if step < warmup_steps:
        return init_lr + (max_lr - init_lr) * step / warmup_steps
    return max_lr * 0.1 ** (step // DECAY_STEPS)


def warmup_lr(optimizer: HasGroups, step: int, warmup_steps: int, init_lr: float, max_lr: float) -> None:
    """Set `learning_rate` of this step in every parameter group of `optimizer`."""
    lr = learning_rate(step, warmup_steps, init_lr, max_lr)
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr


def progressive_batch(epoch: int, epochs: int, first: int = 32, last: int = 256) -> int:
    """The batch size of epoch `epoch` (from 0) of `epochs`: it doubles from `first` at equal distances up to `last`.

    With 32 and 256 there are four sizes, each for a quarter of the epochs: small batches converge fast at first, large
    ones steady the gradient later (Smith et al., "Don't Decay the Learning Rate, Increase the Batch Size", 2018).
    """
    sizes = batch_sizes(first, last)
    return sizes[min(epoch * len(sizes) // epochs, len(sizes) - 1)]


def batch_sizes(first: int, last: int) -> list[int]:
    """The sizes that a training goes through: each the double of the one before, and the last as it is."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(2 * sizes[-1], last))
    return sizes
