"""What is shown of a version that one of MLflow's clients made: its files, what it says of itself, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.ml.registry import presenters, queries
from apps.ml.registry.downloads import own_address
from apps.ml.registry.mlmodel import mlmodel_of
from apps.ml.registry.models import ModelVersion


def client_page(request: HttpRequest, actor: Actor, version: ModelVersion, told: Mapping[str, Any]) -> dict[str, Any]:
    """`told`: the count and size of its files. Three queries."""
    return {
        "files": queries.files_of(actor, version),
        "count": told["count"],
        "size": told["size"],
        "mlmodel": mlmodel_of(version),
        "tags": list(version.tags.order_by("key").values_list("key", "value")[:TAGS_SHOWN]),
        "loading": presenters.loading_of(version, request.build_absolute_uri("/").rstrip("/")),
        "address": own_address(version),
    }


TAGS_SHOWN = 50
