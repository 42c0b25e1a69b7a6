"""Versions of labelling schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.labelling.models import LabelSchema, LabelSchemaVersion
from apps.ml.labelling.validation import check_slug, read_schema
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from deepseek.labelling.label_studio import render_config
from deepseek.labelling.schema import compute_schema_digest


def save_schema(
    *, actor: Actor, project: Project, name: str, document: Mapping[str, Any] | str
) -> tuple[LabelSchemaVersion, bool]:
    """Add a version of the schema called `name`, which is created at need; an equal document finds its version.

    `document`: the schema, or a configuration of Label Studio. Returns the version and whether it is new. Raises
    Invalid for a name or a schema at fault.
    """
    require(actor, "labelling.save_schema", project)
    check_slug("name", name)
    schema = read_schema(document)
    digest = compute_schema_digest(schema)
    try:
        with transaction.atomic():
            LabelSchema.objects.get_or_create(project=project, name=name, defaults={"created_by": actor.label[:200]})
    except IntegrityError:
        pass  # another has created it just now
    with transaction.atomic():
        locked = LabelSchema.objects.select_for_update().get(project=project, name=name)
        existing = locked.versions.filter(digest=digest).first()
        if existing is not None:
            existing.schema = locked
            return existing, False
        number = locked.versions_count + 1
        LabelSchema.objects.filter(pk=locked.pk).update(versions_count=number)
        version = LabelSchemaVersion.objects.create(
            schema=locked,
            number=number,
            level=schema.level,
            document=schema.model_dump(mode="json"),
            digest=digest,
            config=render_config(schema),
            created_by=actor.label[:200],
        )
        record(
            actor=actor,
            action="labelling.save_schema",
            obj=version,
            after={"name": name, "number": number, "level": schema.level},
            digests={"schema": digest},
        )
    return version, True
