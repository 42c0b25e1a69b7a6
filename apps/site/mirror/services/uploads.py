"""One file into the index, as twine and uv upload it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone
from packaging.version import InvalidVersion, Version

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_package_file
from apps.platform.audit.services import record
from apps.site.mirror.distributions import WHEEL, Distribution, read_distribution
from apps.site.mirror.models import PackageFile
from apps.site.mirror.names import normalize_name
from apps.site.mirror.services.index_rows import (
    add_file,
    check_name,
    find_published,
    lock_index,
    mark_changed,
    refresh_package,
)
from deepseek.messages import N_

CHUNK = 1 << 20
DIGESTS = {"sha256_digest": "sha256", "blake2_256_digest": "blake2b", "md5_digest": "md5"}  # field -> algorithm


@dataclass(frozen=True, slots=True)
class Publication:
    file: PackageFile
    is_new: bool  # False: the index had these bytes under this name


def publish_distribution(
    *, actor: Actor, project: Project, path: Path, filename: str, fields: Mapping[str, str]
) -> Publication:
    """Publish the file at `path`, of which the client says `fields` (PyPI's upload form), for a project.

    Raises Invalid (`digest_mismatch`, `package_file_invalid`, `package_record_mismatch`, `archive_bomb`,
    `unsafe_archive`, `package_name_invalid`, `package_name_confusable`), Refused (`package_name_reserved`,
    `package_of_another_project`), Conflict (`package_file_exists`), OverQuota, StorageFull.
    """
    policy.require(actor, "package.publish", project)
    digest = check_digests(path, fields)
    distribution = read_distribution(path, filename)
    check_fields(distribution, fields)
    check_name(distribution.name, project)
    published = find_published(filename, digest)
    if published is not None:
        return Publication(published, is_new=False)
    artifact = publish_package_file(
        actor=actor,
        project=project,
        stream=iter_file(path),
        expected_digest=digest,
        expected_size=path.stat().st_size,
        name=filename,
    ).artifact
    metadata = store_metadata(actor, project, distribution)
    with transaction.atomic():
        index = lock_index()
        check_name(distribution.name, project)
        published = find_published(filename, digest)
        if published is not None:
            return Publication(published, is_new=False)
        now = timezone.now()
        file = add_file(actor, distribution, project, artifact, metadata, now)
        refresh_package(file.version.package, distribution.summary)
        mark_changed(index, [file.version.package], now)
        record(
            actor=actor,
            action="package.publish",
            obj=file.version.package,
            after={"file": filename, "version": str(distribution.version), "size": artifact.size},
            digests={"artifact": digest},
        )
    return Publication(file, is_new=True)


def check_digests(path: Path, fields: Mapping[str, str]) -> str:
    """The SHA-256 of the file, which has every digest that the client sent. Raises Invalid."""
    announced = {field: fields[field].strip().lower() for field in DIGESTS if fields.get(field)}
    if not announced.keys() & {"sha256_digest", "blake2_256_digest"}:
        raise Invalid(
            "No digest of the file was sent.",
            code="digest_missing",
            field="sha256_digest",
            limit="64 hex digits",
            hint=N_("twine and uv publish send it by themselves."),
        )
    hashes: dict[str, Any] = {
        "sha256_digest": hashlib.sha256(),
        "blake2_256_digest": hashlib.blake2b(digest_size=32),
        "md5_digest": hashlib.md5(usedforsecurity=False),
    }
    used = {field: content_hash for field, content_hash in hashes.items() if field in {"sha256_digest", *announced}}
    for chunk in iter_file(path):
        for content_hash in used.values():
            content_hash.update(chunk)
    for field, digest in announced.items():
        if used[field].hexdigest() != digest:
            raise Invalid(
                "The file has another digest than {form_field} says.",
                form_field=field,
                code="digest_mismatch",
                field=field,
                limit=used[field].hexdigest(),
                hint=N_("Nothing was published. Send the file again."),
            )
    return str(used["sha256_digest"].hexdigest())


def check_fields(distribution: Distribution, fields: Mapping[str, str]) -> None:
    """Refuse a form that speaks of another package than its file. Raises Invalid."""
    if fields.get("filetype") and fields["filetype"] != distribution.filetype:
        raise build_field_error("filetype", fields["filetype"], distribution.filetype)
    if fields.get("name") and normalize_name(fields["name"]) != distribution.name:
        raise build_field_error("name", fields["name"], distribution.name)
    try:
        version = Version(fields["version"]) if fields.get("version") else distribution.version
    except InvalidVersion:
        version = None
    if version != distribution.version:
        raise build_field_error("version", fields["version"], str(distribution.version))


def build_field_error(field: str, value: str, expected: str) -> Invalid:
    return Invalid(
        "The form says {stated!r}, the file {expected!r}.",
        stated=value[:60],
        expected=expected,
        code="package_form_mismatch",
        field=field,
        limit=expected,
        hint=N_("Upload it by twine or uv publish, which read the file."),
    )


def store_metadata(actor: Actor, project: Project, distribution: Distribution) -> Artifact | None:
    if distribution.filetype != WHEEL:
        return None
    text = distribution.metadata
    return publish_package_file(
        actor=actor,
        project=project,
        stream=[text],
        expected_digest=hashlib.sha256(text).hexdigest(),
        expected_size=len(text),
        name=f"{distribution.filename}.metadata",
    ).artifact


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk
