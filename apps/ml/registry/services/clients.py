"""Versions that MLflow's clients make of a folder of files, and what they say of a version afterwards.

A version is bound to the bytes that its source held when it was made: its document names every file by digest.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.db import fast_sql
from apps.core.errors import Invalid, NotFound, Refused
from apps.ml.experiments.services.logged_models import add_version_to_tag
from apps.ml.registry.documents import build_client_document
from apps.ml.registry.models import Alias, Model, ModelVersion, ModelVersionFile, ModelVersionTag
from apps.ml.registry.provenance import build_version_end
from apps.ml.registry.services.aliases import require_there
from apps.ml.registry.services.deletion_guards import require_no_baseline, require_unused
from apps.ml.registry.services.models import MAX_DESCRIPTION_LENGTH, lock_model, update_model
from apps.ml.registry.services.tag_records import build_initial_tag_digests, build_recorded_tags
from apps.ml.registry.services.validation import check_length, check_tag, check_text
from apps.ml.registry.sources import VersionSource, resolve_source
from apps.ml.registry.states import APPROVED_STAGE, STAGES
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from apps.platform.lineage.services import build_edge_rows
from deepseek.messages import N_

MAX_SOURCE_LENGTH, MAX_RUN_LINK_LENGTH = 500, 500
NEXT_NUMBER = """
UPDATE registry_model SET versions_count = versions_count + 1, touched_at = %s, updated_at = %s
 WHERE project_id = %s AND name = %s AND deleted_at IS NULL RETURNING id, versions_count
"""


def record_version(
    *,
    actor: Actor,
    project: Project,
    name: str,
    source: str,
    run_id: str = "",
    model_id: str = "",
    description: str = "",
    run_link: str = "",
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """The next version of the model called `name`, of what lies at `source` now. It is ready at once.

    Raises Invalid for a source that is not of the run or the logged model named, NotFound for a model, a run or a
    logged model that the project does not have. Its queries do not grow with what there is.
    """
    policy.require(actor, "model.record_version", project)
    check_length("source", source, MAX_SOURCE_LENGTH)
    check_length("run_link", run_link, MAX_RUN_LINK_LENGTH)
    check_text("description", description, MAX_DESCRIPTION_LENGTH)
    for key, value in (tags or {}).items():
        check_tag(key, value)
    located = resolve_source(actor, project, source, run_id=run_id, model_id=model_id)
    with transaction.atomic():
        model, number = take_next_number(project, name)
        text = build_client_document(
            model=name,
            number=number,
            source=source,
            run=located.run_id,
            logged_model=located.logged_model_id,
            files=[row[:3] for row in located.files],
        )
        version = ModelVersion(
            model=model,
            number=number,
            digest=sha256_hex(text),
            document=text,
            source=source,
            run_id=located.run_id,
            logged_model_id=located.logged_model_id,
            run_link=run_link,
            description=description,
            created_by=actor.label,
        )
        version.save(force_insert=True)
        ModelVersionFile.objects.bulk_create(
            ModelVersionFile(version=version, path=path, artifact_id=artifact, size=size, media_type=media_type)
            for path, artifact, size, media_type in located.files
        )
        after = {
            "model": name,
            "number": number,
            "source": source,
            "files": len(located.files),
            "tags": build_recorded_tags(tags or {}),
        }
        fact = audit.draft(
            actor=actor,
            action="model.record_version",
            obj=version,
            after={**after, "run": located.run_id, "logged_model": located.logged_model_id},
            digests={"version": version.digest, **build_initial_tag_digests(tags or {})},
        )
        tag_rows = [ModelVersionTag(version=version, key=key, value=value) for key, value in (tags or {}).items()]
        edges = build_edge_rows(project, build_source_edges(version, located))
        fast_sql.insert_rows([*tag_rows, *edges, fact], skip_existing=frozenset({Edge}))
        if located.logged_model_id:
            add_version_to_tag(actor=actor, project=project, model_id=located.logged_model_id, name=name, number=number)
    return version


def take_next_number(project: Project, name: str) -> tuple[Model, int]:
    """The model, locked, and the number of its next version, in one statement. NotFound if there is no such model."""
    now = timezone.now()
    rows = fast_sql.fetch(NEXT_NUMBER, [now, now, project.pk, name])
    if not rows:
        raise NotFound(
            "Registered Model with name={name} not found", name=name[:60], field="name", hint=N_("Create it first.")
        )
    key, number = rows[0]
    return Model(pk=key, project=project, name=name, versions_count=number), number


def build_source_edges(version: ModelVersion, source: VersionSource) -> list[EdgeSpec]:
    """From the run by the logged model, where there is one, to the version."""
    version_node = build_version_end(version)
    run = End("run", source.run_id) if source.run_id else None
    model = End("logged_model", source.logged_model_id) if source.logged_model_id else None
    ways = [(run, model, "model"), (model, version_node, "version")] if model else [(run, version_node, "version")]
    return [EdgeSpec.between(start, end, role) for start, end, role in ways if start and end]


# -- what is said of one --------------------------------------------------------------------------------------------
def describe_version(*, actor: Actor, version: ModelVersion, description: str) -> ModelVersion:
    """Replace what is said about a version; the same again changes nothing and leaves no record."""
    policy.require(actor, "model.annotate", version.model)
    check_text("description", description, MAX_DESCRIPTION_LENGTH)
    with transaction.atomic():
        locked = ModelVersion.objects.select_for_update().filter(pk=version.pk, deleted_at=None)
        before = locked.values_list("description", flat=True).first()
        if before == description:
            version.description = before  # the caller's row may be older
            return version
        touch(version, description=description)
        audit.record(
            actor=actor,
            action="model.describe_version",
            obj=version,
            before={"description": before},
            after={"description": description},
        )
    return version


def set_stage(*, actor: Actor, version: ModelVersion, stage: str, archive_others: bool = False) -> ModelVersion:
    """Say MLflow's old word of a version. Raises Refused for Production: that takes an approval, as the alias does.

    `archive_others`: the versions that were in this stage become Archived.
    """
    policy.require(actor, "model.annotate", version.model)
    word = next((name for name in STAGES if name.lower() == stage.lower()), None)
    if word is None:
        raise Invalid(
            "Invalid Model Version stage: {stage}. Value must be one of {stages}.",
            stage=stage[:40],
            stages=", ".join(STAGES),
            code="bad_stage",
            field="stage",
            limit=", ".join(STAGES),
        )
    if word == APPROVED_STAGE:
        raise Refused(
            "No version goes into the stage Production by hand: production is an alias that moves only by an approval.",
            code="alias_protected",
            action="model.annotate",
            field="stage",
            limit=", ".join(name for name in STAGES if name != APPROVED_STAGE),
            hint=N_("Request a promotion: POST .../versions/<n>/promote."),
            project_id=version.project_id,
            **policy.build_audit_reference(version),
        )
    with transaction.atomic():
        lock_model(version.model)
        same_stage = ModelVersion.objects.filter(~Q(pk=version.pk), model=version.model, stage=word, deleted_at=None)
        is_archiving = (
            archive_others and word == "Staging"
        )  # nothing takes the place of what is archived, or is nowhere
        moved = list(same_stage.order_by("number").values_list("number", flat=True)) if is_archiving else []
        if moved:
            same_stage.update(stage="Archived", updated_at=timezone.now())
        before = version.stage
        touch(version, stage=word)
        update_model(version.model)  # its newest versions are told by their stages
        after = {"stage": word, **({"archived": moved} if moved else {})}
        audit.record(actor=actor, action="model.set_stage", obj=version, before={"stage": before}, after=after)
    return version


def delete_version(*, actor: Actor, version: ModelVersion) -> None:
    """Take a version out of every list; its number is not given again, its rows and bytes stay.

    Raises Conflict where production points to it or once did, where an approval waits, where lineage cites it, where a
    gate compares with it, or where it is held.
    """
    policy.require(actor, "model.delete", version.model)
    with transaction.atomic():
        lock_model(version.model)
        require_there(version)
        require_no_baseline(version)
        require_unused(version.model, ModelVersion.objects.filter(pk=version.pk))
        names = sorted(Alias.objects.filter(version=version).values_list("name", flat=True))
        Alias.objects.filter(version=version).delete()
        ModelVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now())
        update_model(version.model)
        audit.record(
            actor=actor,
            action="model.delete_version",
            obj=version,
            before={"model": version.model.name, "number": version.number, "aliases": names},
            digests={"version": version.digest},
        )


def touch(version: ModelVersion, **fields: str) -> None:
    """Set what is said of a version; NotFound if it was deleted meanwhile."""
    now = timezone.now()
    if not ModelVersion.objects.filter(pk=version.pk, deleted_at=None).update(updated_at=now, **fields):
        raise NotFound(
            "{version} was deleted meanwhile.", version=version, field="version", hint=N_("List the versions again.")
        )
    version.updated_at = now
    for name, value in fields.items():
        setattr(version, name, value)
