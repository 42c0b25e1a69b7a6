"""Where the files of a version are fetched, and its files as they were when it was made. Reads only."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.experiments.files import tree
from apps.ml.experiments.files.tree import Entry
from apps.ml.registry.blocks import find_block, require_unblocked
from apps.ml.registry.models import Alias, ModelVersion
from apps.ml.registry.sources import EXTERNAL_SCHEMES, find_source_folder, list_frozen_files
from apps.ml.registry.states import PROTECTED
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact


def get_own_address(version: ModelVersion) -> str:
    """Where the files of a version are for good, whatever becomes of its source."""
    return f"mlflow-artifacts:/registry/{version.pk}"


def get_source_address(version: ModelVersion) -> str:
    """What a client gave as the source; of a version that a job made, where its files are."""
    return version.source or get_own_address(version)


def get_download_address(version: ModelVersion) -> str:
    """Where a client fetches the files of a version.

    That is the folder that it was made of, as long as it holds the same bytes; else, and always of what is in
    production or blocked, the version's own place, whose bytes are those of its digest. Three queries, four of a
    protected one.
    """
    if not version.by_client:
        return get_own_address(version)
    if version.source.partition(":")[0].lower() in EXTERNAL_SCHEMES:
        return version.source
    if Alias.objects.filter(version=version, name__in=PROTECTED).exists():
        return get_own_address(version)
    if find_block(version) is not None:
        return get_own_address(version)
    owner, folder = find_source_folder(version)
    if owner is None or owner.deleted_at is not None:
        return get_own_address(version)
    frozen = list_frozen_files(version)
    if tree.list_files_below(owner, folder, len(frozen) + 1) != frozen:
        return get_own_address(version)
    return f"{tree.get_artifact_uri(owner)}/{folder}".rstrip("/")


def find_usable_version(actor: Actor, project: Project, key: int) -> ModelVersion | None:
    """The version whose files are to be fetched. Raises Conflict `version_blocked`."""
    version = find_version(actor, project, key)
    if version is not None:
        require_unblocked(version)
    return version


def find_version(actor: Actor, project: Project, key: int) -> ModelVersion | None:
    policy.require(actor, "model.view", project)
    rows = ModelVersion.objects.visible_to(actor).select_related("model")
    return rows.filter(pk=key, model__project=project).first()


def list_folder_entries(actor: Actor, project: Project, key: int, folder: str) -> list[Entry]:
    """The names in a folder of a version, by its key; nothing where there is no such version or folder."""
    version = find_version(actor, project, key)
    if version is None:
        return []
    if version.by_client:
        return tree.list_entries(version.files.all(), folder)
    head = f"{folder}/" if folder else ""
    entries: dict[str, Entry] = {}
    for path, _, size, _ in list_frozen_files(version):
        name, slash, _ = path.removeprefix(head).partition("/")
        if path.startswith(head):
            entries[name] = Entry(name, bool(slash), 0 if slash else size)
    return sorted(entries.values(), key=lambda entry: entry.name)


def find_file(actor: Actor, project: Project, key: int, path: str) -> tuple[Artifact, str, str] | None:
    """(artifact, path, media type) of a file of a version, or None. Raises Conflict `version_blocked`."""
    version = find_usable_version(actor, project, key)
    if version is None:
        return None
    if version.by_client:
        row = version.files.select_related("artifact").filter(path=path).first()
        return (row.artifact, path, row.media_type) if row else None
    for file_path, digest, _, media_type in list_frozen_files(version):
        if file_path == path and (artifact := Artifact.objects.filter(pk=digest).first()):
            return artifact, path, media_type
    return None
