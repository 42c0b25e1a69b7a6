"""Numbers with six significant digits: enough for a drawing, and a third of the bytes."""

from typing import Any


def round_value(value: float) -> float:
    return float(f"{value:.6g}")


def round_all(values: Any) -> list[float]:
    """The values of an array, each rounded."""
    return [round_value(value) for value in values.tolist()]
