"""Attach the archive that the site has built of a release, which stock clients get in place of the variant's file."""

from __future__ import annotations

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, Refused
from apps.fleet.releases.models import Release
from apps.gateways.hawkbit.models import UpdateFile
from apps.platform.artifacts.file_names import clean_file_name
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.queries import get_holding, require_undamaged
from apps.platform.audit.services import record
from deepseek.messages import N_

MAX_NAME = 100
ATTACH = "release.attach_update_file"


def attach_update_file(*, actor: Actor, release: Release, digest: str, name: str = "") -> UpdateFile:
    """Let stock clients get this artifact of the project in place of the variant's file.

    The approval of the release does not cover its bytes, so an approver attaches it, and not who uploaded it. Raises
    Conflict `update_file_attached` where there is one: a device may have it already. The same again is no error.
    """
    policy.require(actor, "release.attach_update_file", release)
    holding = get_holding(actor=actor, project=release.project, digest=digest)
    require_undamaged(holding.artifact)
    file_name = check_name(name or holding.name)
    require_other_person(actor, release, holding)
    with transaction.atomic():
        row, is_new = UpdateFile.objects.select_related("artifact").get_or_create(
            release=release,
            defaults={"artifact": holding.artifact, "name": file_name, "attached_by": actor.label[:200]},
        )
        if not is_new:
            return require_same(row, holding, file_name)
        record(
            actor=actor,
            action=ATTACH,
            obj=row,
            after={"release": release.pk, "name": file_name, "size": holding.artifact.size},
            digests={"artifact": holding.artifact_id, "release": release.payload_digest},
        )
    return row


def require_other_person(actor: Actor, release: Release, holding: Holding) -> None:
    """Raise Refused for who uploaded the file: two people stand for it, as for the version."""
    if holding.created_by == actor.label:
        raise Refused(
            "{name} uploaded this file; another approver must attach it.",
            name=actor.label,
            code="own_update_file",
            action=ATTACH,
            project_id=release.project_id,
            object_type="release",
            object_id=release.pk,
            field="/digest",
            hint=N_("Ask another approver of the project."),
        )


def require_same(row: UpdateFile, holding: Holding, name: str) -> UpdateFile:
    if (row.artifact_id, row.name) != (holding.artifact_id, name):
        raise Conflict(
            "The file {name} is attached to this release already.",
            name=row.name,
            code="update_file_attached",
            field="/digest",
            hint=N_("Issue another release of the variant, and attach the file to that."),
        )
    return row


def check_name(sent: str) -> str:
    """The name that devices see: one part of an address. swupdate takes only names that end in .swu."""
    name = clean_file_name(sent)
    if not name or name != sent or len(name) > MAX_NAME:
        raise Invalid(
            "{sent!r} is no name of an update file.",
            sent=sent[:120],
            field="/name",
            limit=MAX_NAME,
            hint=N_("For instance model-7.swu: 1 to 100 characters without slashes."),
        )
    return name
