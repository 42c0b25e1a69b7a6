"""The archives of code that a script job may run: uploaded by its form, or by deepseek run."""

from __future__ import annotations

from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import date
from django.utils.timezone import localtime

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.services import publish_upload
from deepseek.messages import N_

ZIP = "application/zip"
MAX_ARCHIVES_OFFERED = 20
MAX_LOOKED_AT = 500  # of the project's newest artifacts


def list_archives(actor: Actor, project: Project) -> list[tuple[str, str]]:
    """(digest, label) of the project's newest zip files."""
    newest = (
        Holding.objects.readable_by(actor)
        .filter(project=project, project_id__in=actor.project_ids)
        .order_by("-id")[:MAX_LOOKED_AT]
    )
    rows = newest.values_list("artifact_id", "name", "media_type", "created_at")
    archives = [(digest, name, at) for digest, name, media_type, at in rows if media_type == ZIP]
    return [
        (digest, f"{name or digest[:12]}, {date(localtime(at), 'Y-m-d H:i')}")
        for digest, name, at in archives[:MAX_ARCHIVES_OFFERED]
    ]


def upload_archive(actor: Actor, project: Project, file: UploadedFile[bytes] | None) -> str:
    """Store an uploaded zip file; returns its digest. Raises Invalid for none, and for another kind of file."""
    if file is None or not file.name:
        raise Invalid("Choose a zip file.", code="bad_code", field="file", hint=N_("Pack the folder of the script."))
    begin = file.read(4)
    file.seek(0)
    if begin[:2] != b"PK":
        raise Invalid(
            "{name} is no zip file.",
            name=file.name[:80],
            code="bad_code",
            field="file",
            hint=N_("Pack the folder of the script."),
        )
    published = publish_upload(
        actor=actor, project=project, stream=file.chunks(), expected_size=file.size, name=file.name, media_type=ZIP
    )
    return published.artifact.digest
