"""What is shown of a version that one of MLflow's clients made: its files, what it says of itself, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.ml.registry import presenters, queries
from apps.ml.registry.downloads import get_own_address
from apps.ml.registry.mlmodel import read_mlmodel
from apps.ml.registry.models import ModelVersion


def build_client_context(
    request: HttpRequest, actor: Actor, version: ModelVersion, totals: Mapping[str, Any]
) -> dict[str, Any]:
    """`told`: the count and size of its files. Two queries."""
    return {
        "files": queries.list_version_files(actor, version),
        "count": totals["count"],
        "size": totals["size"],
        "mlmodel": read_mlmodel(version),
        "loading": presenters.format_loading_commands(version, request.build_absolute_uri("/").rstrip("/")),
        "address": get_own_address(version),
    }
