"""Registered models, their versions and aliases that come from MLflow. A protected alias moves by approval alone."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.gateways.mlflow_import.artifact_location import ArtifactLocation
from apps.gateways.mlflow_import.documents import build_document, is_same_version
from apps.gateways.mlflow_import.services.rows import add_texts
from apps.gateways.mlflow_import.source_records import SourceRegisteredModel, SourceVersion, parse_milliseconds
from apps.ml.registry.models import Alias, AliasMove, Model, ModelTag, ModelVersion, ModelVersionFile, ModelVersionTag
from apps.ml.registry.services.aliases import move_alias, require_there
from apps.ml.registry.services.clients import build_source_edges
from apps.ml.registry.services.validation import check_imported_alias
from apps.ml.registry.sources import VersionSource
from apps.ml.registry.states import APPROVED_STAGE, PROTECTED, STAGES, MoveKind
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.lineage.services import record_with


def import_model(*, actor: Actor, project: Project, source: str, record: SourceRegisteredModel) -> Model:
    """The registered model of this name, made if the project has none."""
    policy.require(actor, "model.import", project)
    model = Model.objects.filter(project=project, name=record.name, deleted_at=None).first()
    if model is None:
        try:
            with transaction.atomic():
                model = insert_model(actor, project, source, record)
        except IntegrityError:
            model = Model.objects.get(project=project, name=record.name, deleted_at=None)
    add_texts(ModelTag, {"model": model}, record.tags)
    return model


def insert_model(actor: Actor, project: Project, source: str, record: SourceRegisteredModel) -> Model:
    now = timezone.now()
    model = Model.objects.create(
        project=project,
        name=record.name,
        description=record.description,
        created_by=actor.label,
        touched_at=parse_milliseconds(record.updated) or now,
        updated_at=parse_milliseconds(record.updated) or now,
    )
    if record.created is not None:
        Model.objects.filter(pk=model.pk).update(created_at=parse_milliseconds(record.created))
    audit.record(actor=actor, action="model.import", obj=model, after={"name": model.name, "source": source})
    return model


def import_version(
    *, actor: Actor, model: Model, source: str, record: SourceVersion, place: ArtifactLocation
) -> ModelVersion:
    """Take over a version under its number; `place`: where its files are in the plane.

    Raises Conflict where the model has another version of this number.
    """
    policy.require(actor, "model.import", model)
    text, digest = build_document(record, place)
    with transaction.atomic():
        locked = Model.objects.select_for_update().get(pk=model.pk)
        existing = ModelVersion.objects.select_related("model").filter(model=locked, number=record.number).first()
        if existing is not None and not is_same_version(existing.document, text):
            raise Conflict(f"{model.name} has another version {record.number} here", code="version_taken")
        version = existing or insert_version(actor, locked, source, record, place, text, digest)
        add_texts(ModelVersionTag, {"version": version}, record.tags)
    return version


def insert_version(
    actor: Actor, model: Model, source: str, record: SourceVersion, place: ArtifactLocation, text: str, digest: str
) -> ModelVersion:
    stage = parse_stage(record)
    version = ModelVersion.objects.create(
        model=model,
        number=record.number,
        digest=digest,
        document=text,
        run=place.run,
        source=place.source[:500],
        logged_model=place.logged_model,
        run_link=record.run_link[:500],
        description=record.description,
        stage="None" if stage == APPROVED_STAGE else stage,
        created_by=actor.label,
        updated_at=parse_milliseconds(record.updated) or timezone.now(),
    )
    if record.created is not None:
        ModelVersion.objects.filter(pk=version.pk).update(created_at=parse_milliseconds(record.created))
    Model.objects.filter(pk=model.pk, versions_count__lt=record.number).update(versions_count=record.number)
    ModelVersionFile.objects.bulk_create(
        ModelVersionFile(version=version, path=path, artifact_id=digest, size=size, media_type=media_type)
        for path, digest, size, media_type in place.files
    )
    after = {"model": model.name, "number": record.number, "source": source, "files": len(place.files)}
    made_of = VersionSource(place.run.pk if place.run else None, place.logged_model.pk if place.logged_model else None)
    after |= {"run": made_of.run_id, "logged_model": made_of.logged_model_id}
    digests = {"version": digest} | {path: sha256 for path, sha256, _, _ in place.files[:100]}
    audit.record(actor=actor, action="model_version.import", obj=version, after=after, digests=digests)
    record_with(model.project, build_source_edges(version, made_of))
    return version


def parse_stage(record: SourceVersion) -> str:
    """One of MLflow's stages; a word that is none of them says nothing."""
    return next((word for word in STAGES if word.lower() == record.stage.lower()), "None")


def import_alias(*, actor: Actor, version: ModelVersion, name: str) -> bool:
    """Let an alias point to a version, unless the model has it; False for a protected one, which moves by approval.

    Raises Conflict where it points to another version here, Invalid for a name that clients cannot give either,
    StaleState for a version that was deleted here.
    """
    policy.require(actor, "model.import", version.model)
    if name.lower() in PROTECTED:
        return False
    check_imported_alias(name)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)
        require_there(version)
        alias = Alias.objects.select_related("version").filter(model=version.model, name=name).first()
        if alias is None:
            move_alias(actor, AliasMove(alias=name, kind=MoveKind.SET, to_version=version, reason="Taken from MLflow"))
        elif alias.version_id != version.pk:
            raise Conflict(
                f"alias {name} of {version.model.name} is at version {alias.version.number} here and stays",
                code="alias_moved",
            )
    return True
