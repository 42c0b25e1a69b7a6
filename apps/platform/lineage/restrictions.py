"""Ends of lineage that a security label hides from some members of a project; apps above know which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from apps.core.actors import Actor
from apps.core.registry import Registry

HIDDEN_ENDS: Registry[Callable[[Actor], QuerySet[Any, str]]] = Registry("HIDDEN_ENDS")
"""By type of an end: (actor) -> a query of one column, the ids (text) of the ends that are hidden from the actor."""
