"""Bytes that a project holds and a security label hides from some of its members; apps above know which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.core.actors import Actor
from apps.core.registry import Registry

HIDDEN_HOLDINGS: Registry[Callable[[Actor], Any]] = Registry("HIDDEN_HOLDINGS")
"""By app: (actor) -> a condition on rows of Holding, which may refer to them by OuterRef, that hides them."""
