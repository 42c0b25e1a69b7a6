"""Cleaning of tables. Importing this loads nothing heavy: the function below arrives when first asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.clean.median_fill import sliding_median_fill

__all__ = ["sliding_median_fill"]


def __getattr__(name: str) -> object:
    if name == "sliding_median_fill":
        from deepseek.clean.median_fill import sliding_median_fill

        return sliding_median_fill
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
