"""Names of models and their versions, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.ml.registry.models import Model, ModelVersion
from apps.platform.audit.naming.object_names import parse_keys


def name_models(ids: Collection[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in Model.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "name")}


def name_versions(ids: Collection[str]) -> dict[str, str]:
    versions = ModelVersion.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "model__name", "number")
    return {str(pk): f"{name} v{number}" for pk, name, number in versions}
