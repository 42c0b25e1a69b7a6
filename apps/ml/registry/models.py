"""Models, their versions in every form, and the names that point to a version. Only the names ever move."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.db.key_values import KeyValue
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.registry.states import PROTECTED, MoveKind
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.models import Artifact


class ModelQuerySet(models.QuerySet["Model"]):
    def visible_to(self, actor: Actor) -> ModelQuerySet:
        """Those that were not deleted."""
        models_left = self.filter(deleted_at=None)
        return models_left if actor.plane_role else models_left.filter(project_id__in=actor.project_ids)


class Model(models.Model):
    """A name under which versions are registered. MLflow's clients take any name without `/` and `:`, so lists do."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="models", db_index=False)
    name = models.CharField(max_length=256)
    description = models.TextField(blank=True)
    versions_count = models.IntegerField(default=0)  # the number of the newest version; the lock that numbers them
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(default=timezone.now)  # when the newest was registered, for the order of lists
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)  # its name is free again; what cites its versions stays

    objects = ModelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], condition=Q(deleted_at=None), name="model_name")
        ]
        indexes = [
            models.Index(fields=["project", "touched_at", "id"], name="model_by_change"),
            models.Index(fields=["project", "id"], name="model_by_age"),
        ]

    def __str__(self) -> str:
        return self.name


class ModelTag(KeyValue):
    model = models.ForeignKey(Model, models.CASCADE, related_name="tags", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "key"], name="model_tag_once")]


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def visible_to(self, actor: Actor) -> ModelVersionQuerySet:
        """Those that were not deleted, with their model or alone."""
        versions = self.filter(deleted_at=None)
        return versions if actor.plane_role else versions.filter(model__project_id__in=actor.project_ids)


class ModelVersion(models.Model):
    """What one register job made of the forms of a model, or a client of a folder of files. Named by the digest of its
    document, which never changes; what is said about it (description, tags, stage) may."""

    model = models.ForeignKey(Model, models.PROTECT, related_name="versions", db_index=False)
    number = models.IntegerField()
    digest = models.CharField(max_length=64)  # of the document's text
    document = models.TextField()  # version.json as the engine wrote it: plane/model-version/v1
    task = models.CharField(max_length=40)
    target = models.CharField(max_length=500)
    metrics = models.JSONField(default=list)  # of the form that was trained, for lists; the document holds them all
    note = models.CharField(max_length=500, blank=True)
    run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="model_versions")  # that trained it
    job_id = models.BigIntegerField(null=True)  # that registered it
    source = models.CharField(max_length=500, blank=True)  # where a client says its files are; empty: made by a job
    logged_model = models.ForeignKey(LoggedModel, models.PROTECT, null=True, related_name="versions")
    run_link = models.CharField(max_length=500, blank=True)
    description = models.TextField(blank=True)
    stage = models.CharField(max_length=20, default="None")  # MLflow's word of before there were aliases
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)  # its number is not given again; what cites it stays

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="model_version_number"),
            # The same forms with the same figures are the same version: a second registration finds the first.
            models.UniqueConstraint(fields=["model", "digest"], name="model_version_digest"),
        ]
        indexes = [
            # The search goes from the first digits of a digest, of any model, to the version.
            models.Index(fields=["digest"], name="model_version_by_digest"),
            # MLflow's clients ask for the newest version of each stage with every look at a model.
            models.Index(fields=["model", "stage", "-number"], name="model_version_by_stage"),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} v{self.number}"

    @property
    def project_id(self) -> int:
        return self.model.project_id

    @property
    def by_client(self) -> bool:
        """Made of a folder by one of MLflow's clients, so it has files and no variants."""
        return bool(self.source)

    @property
    def is_empty(self) -> bool:
        """Its bytes lie outside the plane, or nowhere."""
        return self.by_client and not self.files.exists()


class ModelVersionFile(models.Model):
    """A file of a version that a client made, as it was then: what comes to its path later is not of the version."""

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="files", db_index=False)
    path = models.CharField(max_length=500)  # below the source
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="model_version_file_once")]

    def __str__(self) -> str:
        return self.path


class ModelVersionTag(KeyValue):
    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="tags", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="model_version_tag_once")]


class VariantQuerySet(models.QuerySet["Variant"]):
    def visible_to(self, actor: Actor) -> VariantQuerySet:
        """Those of versions that were not deleted, with their model or alone."""
        variants = self.filter(version__deleted_at=None)
        return variants if actor.plane_role else variants.filter(version__model__project_id__in=actor.project_ids)


class Variant(models.Model):
    """One form of a version: fp32, int8, compiled for a processor. Its bytes and its manifest are artifacts."""

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="variants", db_index=False)
    name = models.CharField(max_length=60)
    format = models.CharField(max_length=20)
    file = models.CharField(max_length=100)  # the name that its manifest gives the bytes
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="variants")
    manifest = models.ForeignKey(Artifact, models.PROTECT, related_name="+", db_index=False)
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_index=False)
    size = models.BigIntegerField()
    heldout = models.CharField(max_length=64, blank=True)  # the rows its figures were measured on; empty: not known
    machine = models.JSONField(default=dict)  # of a compiled form: the processor that it runs on
    figures = models.JSONField(default=dict)  # plane/figures/v1
    job_id = models.BigIntegerField(null=True)  # that made it

    objects = VariantQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "name"], name="variant_once")]
        indexes = [models.Index(fields=["manifest"], name="variant_by_manifest")]

    def __str__(self) -> str:
        return f"{self.version} {self.name}"


class Alias(models.Model):
    """A name that points to one version of a model, for instance `production`."""

    model = models.ForeignKey(Model, models.PROTECT, related_name="aliases", db_index=False)
    name = models.CharField(max_length=255)
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="aliases")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "name"], name="alias_once")]

    def __str__(self) -> str:
        return self.name


class AliasMove(models.Model):
    """One move of an alias. Together they are its history; none is ever changed.

    What a rollback goes back to is a stack. A promotion puts its version on top; a rollback takes the top off, and
    `origin` is the move that had put there what is on top now.
    """

    model = models.ForeignKey(Model, models.PROTECT, related_name="alias_moves", db_index=False)
    alias = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, choices=MoveKind.choices)
    from_version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+", db_index=False)
    to_version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+", db_index=False)
    approval = models.ForeignKey(Approval, models.PROTECT, null=True, related_name="+", db_index=False)
    origin = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_index=False)
    reason = models.CharField(max_length=2000, blank=True)
    by = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["approval"], condition=Q(kind="promote"), name="alias_move_per_approval"),
            # Whatever a service does wrong, the table takes no move of production that nobody approved.
            models.CheckConstraint(
                condition=~Q(alias__in=sorted(PROTECTED)) | (Q(approval__isnull=False) & ~Q(kind="set")),
                name="alias_move_approved",
            ),
            models.CheckConstraint(
                condition=Q(kind="rollback", origin__isnull=False) | (~Q(kind="rollback") & Q(origin__isnull=True)),
                name="alias_move_origin",
            ),
        ]
        indexes = [models.Index(fields=["model", "alias", "-id"], name="alias_moves_recent")]

    def __str__(self) -> str:
        return f"{self.alias} {self.kind} {self.to_version_id}"

    @property
    def stands_for(self) -> AliasMove:
        """The move that had put there what this one put there: itself, unless it rolled back."""
        return self.origin or self


# At the end: they name the tables above.
from apps.ml.registry.block_models import VersionBlock  # noqa: E402
from apps.ml.registry.evaluation_models import (  # noqa: E402
    PREDICTIONS,
    Evaluation,
    EvaluationSet,
    Gate,
    GateVerdict,
)

__all__ = [
    "PREDICTIONS",
    "Alias",
    "AliasMove",
    "Evaluation",
    "EvaluationSet",
    "Gate",
    "GateVerdict",
    "Model",
    "ModelTag",
    "ModelVersion",
    "ModelVersionTag",
    "Variant",
    "VersionBlock",
]
