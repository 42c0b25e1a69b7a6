"""Whether this machine has the driver of labelling projects."""

from __future__ import annotations

import importlib.util


def is_driver_installed() -> bool:
    """Whether the extra `labelling` is here."""
    return importlib.util.find_spec("label_studio_sdk") is not None
