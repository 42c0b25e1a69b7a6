"""Training. Importing this loads nothing heavy: what is below arrives when first asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.train.schedule import learning_rate, progressive_batch, warmup_lr

__all__ = ["learning_rate", "progressive_batch", "warmup_lr"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from deepseek.train import schedule

        return getattr(schedule, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
