"""Names of datasets and their versions, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.platform.audit.naming.object_names import parse_keys


def name_datasets(ids: Collection[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in Dataset.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "name")}


def name_versions(ids: Collection[str]) -> dict[str, str]:
    versions = DatasetVersion.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "dataset__name", "number")
    return {str(pk): f"{name} v{number}" for pk, name, number in versions}
