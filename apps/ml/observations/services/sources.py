"""Sources: an endpoint or device is made known once, with what is kept of it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.schemas import SourceBody, SourceChanges
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from deepseek.messages import N_


def create_source(*, actor: Actor, project: Project, body: SourceBody) -> ObservationSource:
    """Make an endpoint or device known. Raises Conflict (`source_exists`) for a name that is taken."""
    require(actor, "observation.configure", project)
    try:
        with transaction.atomic():
            source = ObservationSource.objects.create(
                project=project, created_by=actor.label[:200], **body.model_dump()
            )
            record(actor=actor, action="observation.create_source", obj=source, after=body.model_dump())
    except IntegrityError:
        raise Conflict(
            "The project has an observation source {name!r} already.",
            name=body.name,
            code="source_exists",
            field="/name",
            hint=N_("Send to it, or choose another name."),
        ) from None
    return source


def update_source(*, actor: Actor, source: ObservationSource, changes: SourceChanges) -> ObservationSource:
    """Change what is kept of a source. What is kept already stays until the next purge looks at it."""
    require(actor, "observation.configure", source)
    with transaction.atomic():
        locked = lock_source(source)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for name in sorted(changes.model_fields_set):
            old, new = getattr(locked, name), getattr(changes, name)
            if old != new:
                before[name], after[name] = old, new
        if after:
            ObservationSource.objects.filter(pk=locked.pk).update(**after)
            record(actor=actor, action="observation.update_source", obj=locked, before=before, after=after)
    source.refresh_from_db()
    return source


def lock_source(source: ObservationSource) -> ObservationSource:
    """The row, locked: batches, seals and purges of one source come one after the other."""
    return ObservationSource.objects.select_for_update(no_key=True).get(pk=source.pk)
