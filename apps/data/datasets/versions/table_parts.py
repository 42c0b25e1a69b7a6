"""A table of several Parquet parts: a version whose files are all Parquet of one schema, in the order of their paths.

As the input of a job each part has a slot of its own, SLOT/path; the engine finds a folder of them (deepseek/tables/
parts.py). The digest of the manifest names the version, so that the parts of a job lead back to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetFile, DatasetVersion, DatasetVersionQuerySet
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import split_into_batches
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.submission import InputSpec
from deepseek.tables.part_manifest import compute_manifest_sha256, is_part_path

SEPARATOR = "/"
DIGESTS_PER_QUERY = 500


def load_parts(version: DatasetVersion) -> list[DatasetFile]:
    """The parts of a version in the order of their rows, with their artifacts."""
    # Not ordered by the database: its collation may not be the order of code points, which the engine has.
    files = version.files.select_related("artifact") if version.parts else ()
    return sorted(files, key=lambda file: file.path)


def build_table_inputs(version: DatasetVersion, digest: str, slot: str) -> list[InputSpec]:
    """The inputs of a job that takes the table of a version: its file, of this digest, or each of its parts."""
    if not version.parts:
        return [InputSpec(slot=slot, digest=digest)]
    return [build_part_input(path, part, slot) for path, part in list_part_digests(version)]


def build_part_input(path: str, digest: str, slot: str) -> InputSpec:
    return InputSpec(slot=f"{slot}{SEPARATOR}{path}", digest=digest)


def list_part_digests(version: DatasetVersion) -> list[tuple[str, str]]:
    """(path, digest) of each part, in the order of the rows."""
    return sorted(version.files.values_list("path", "artifact_id"))


def expand_version_digest(actor: Actor, project: Project, digest: str, slot: str) -> list[InputSpec]:
    """The parts of the version with this digest, as inputs below `slot`; empty where it names no table of parts."""
    versions = DatasetVersion.objects.visible_to(actor).filter(dataset__project=project, digest=digest, parts__gt=0)
    version = versions.defer("manifest").first()
    return [build_part_input(path, digest, slot) for path, digest in list_part_digests(version)] if version else []


def group_part_slots(slots: Iterable[str]) -> dict[str, list[str]]:
    """{slot of a table: the slots of its parts}."""
    groups: dict[str, list[str]] = {}
    for slot in slots:
        table = get_table_slot(slot)
        if table != slot:
            groups.setdefault(table, []).append(slot)
    return groups


def get_table_slot(slot: str) -> str:
    """The slot of the table that a part is in, or the slot itself."""
    table, separator, path = slot.partition(SEPARATOR)
    return table if separator and is_part_path(path) else slot


def find_part_versions(project_id: int, slots: Mapping[str, str]) -> dict[str, DatasetVersion]:
    """{slot of a table: the newest version whose parts are exactly those in the slots below it}."""
    newest = {
        table: query_part_versions(project_id, slots, table).select_related("dataset").defer("manifest").order_by("-pk")
        for table in group_part_slots(slots)
    }
    return {table: version for table, versions in newest.items() if (version := versions.first()) is not None}


def query_part_versions(project_id: int, slots: Mapping[str, str], table: str) -> DatasetVersionQuerySet:
    """The versions of a project whose parts are exactly those in the slots below `table`."""
    parts = {
        slot.removeprefix(f"{table}{SEPARATOR}"): digest
        for slot, digest in slots.items()
        if get_table_slot(slot) == table != slot
    }
    sizes: dict[str, int] = {}
    for digests in split_into_batches(set(parts.values()), DIGESTS_PER_QUERY):
        sizes |= dict(Artifact.objects.filter(digest__in=digests).values_list("digest", "size"))
    digest = compute_manifest_sha256((path, part, sizes.get(part, 0)) for path, part in parts.items())
    return DatasetVersion.objects.filter(dataset__project_id=project_id, digest=digest, deleted_at=None)
