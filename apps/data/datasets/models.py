"""Datasets and their versions. A version is a manifest of files by digest, and is never changed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.platform.accounts.models import SLUG, Project
from apps.platform.artifacts.models import Artifact


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def visible_to(self, actor: Actor) -> DatasetQuerySet:
        """Of the actor's projects, up to the actor's clearance."""
        own = self if actor.plane_role else self.filter(project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(security_label__lte=actor.clearance)


class Dataset(models.Model):
    project = models.ForeignKey(Project, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=50, validators=[SLUG])
    description = models.CharField(max_length=500, blank=True)
    card = models.TextField(blank=True, default="", db_default="")  # Markdown, at most core.markdown.MAX_CHARACTERS
    keywords = models.CharField(max_length=900, blank=True, default="", db_default="")  # by ", ", for the search
    versions_count = models.IntegerField(default=0)  # the number of the newest version; the lock that numbers them
    expectations = models.JSONField(default=list)  # of every new version: quality/required_expectations.py
    security_label = models.PositiveSmallIntegerField(
        default=0, db_default=0
    )  # a place in SECURITY_LABELS; counts beside the project's
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(default=timezone.now)  # when the newest version was added, for the order of lists

    objects = DatasetQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="dataset_name")]
        indexes = [
            models.Index(fields=["project", "touched_at", "id"], name="dataset_by_change"),
            models.Index(fields=["project", "id"], name="dataset_by_age"),
            # What is hidden from somebody is asked for with every artifact and edge; on most planes nothing is.
            models.Index(fields=["security_label"], name="dataset_labelled", condition=Q(security_label__gt=0)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def keyword_list(self) -> list[str]:
        return self.keywords.split(", ") if self.keywords else []

    @property
    def data_label(self) -> int:
        """What policy.is_cleared compares with the actor's clearance."""
        return self.security_label


class DatasetVersionQuerySet(models.QuerySet["DatasetVersion"]):
    def visible_to(self, actor: Actor) -> DatasetVersionQuerySet:
        """Without the deleted ones: of those only the number, the digest and who deleted them is left."""
        versions = self.filter(deleted_at=None)
        own = versions if actor.plane_role else versions.filter(dataset__project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(dataset__security_label__lte=actor.clearance)

    def annotate_commit(self) -> DatasetVersionQuerySet:
        """With `commit_sha`, which `commit` then tells without a query of its own."""
        first = DatasetVersion.objects.filter(pk=models.OuterRef("pk")).order_by("commits__position")
        return self.annotate(commit_sha=models.Subquery(first.values("commits__sha")[:1]))


class DatasetVersion(models.Model):
    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="versions")
    number = models.IntegerField()
    digest = models.CharField(max_length=64)  # of the canonical manifest
    manifest = models.TextField()
    media_type = models.CharField(max_length=120)
    rows = models.BigIntegerField(null=True)
    size = models.BigIntegerField()
    columns = models.JSONField(default=list)  # [{name, dtype}]
    parts = models.PositiveIntegerField(default=0, db_default=0)  # files that are the parts of one table; 0: none is
    script = models.CharField(max_length=200, blank=True)  # what made it: "upload" or "deepseek.clean 0.1.0"
    params = models.JSONField(default=dict)
    job_id = models.BigIntegerField(null=True)  # lineage holds the edge; this is the short way there
    quality = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")  # report, once measured
    # The version that its rows come from, and which row each was (provenance/row_origins.py). `keeps_rows`: every row
    # is the row at the same place; else `origins` holds the runs; with neither, nothing is known row by row.
    origin_version = models.ForeignKey("self", models.PROTECT, null=True, related_name="row_children")
    origins = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+", db_index=False)
    keeps_rows = models.BooleanField(default=False)
    note = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)  # its files are gone from here; the row stays, so numbers have no gap
    deleted_by = models.CharField(max_length=200, blank=True)
    delete_reason = models.CharField(max_length=500, blank=True)

    objects = DatasetVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="version_number"),
            # The same bytes twice are the same version: a second registration finds the first.
            models.UniqueConstraint(fields=["dataset", "digest"], name="version_digest"),
        ]
        # The search goes from the first digits of a digest, of any dataset, to the version.
        indexes = [
            models.Index(fields=["digest"], name="version_by_digest"),
            models.Index(fields=["dataset", "size", "id"], name="version_by_size"),
            models.Index(fields=["dataset", "rows", "id"], name="version_by_rows", condition=Q(rows__isnull=False)),
            # What cites an artifact is asked of every key that leads to one, for each artifact.
            models.Index(fields=["origins"], name="version_by_origins", condition=Q(origins__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def project_id(self) -> int:
        return self.dataset.project_id

    @property
    def data_label(self) -> int:
        return self.dataset.security_label

    @property
    def commit(self) -> str | None:
        """The first commit of Git that has these files; None as long as nobody has asked for an older dataset's."""
        if "commit_sha" in self.__dict__:
            sha: str | None = self.__dict__["commit_sha"]
            return sha
        return self.commits.order_by("position").values_list("sha", flat=True).first()


class DatasetFile(models.Model):
    # Without indexes of their own: those below begin with the same columns, and ten thousand rows come at once.
    version = models.ForeignKey(DatasetVersion, models.CASCADE, related_name="files", db_index=False)
    path = models.CharField(max_length=255)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+", db_index=False)
    media_type = models.CharField(max_length=120)
    rows = models.BigIntegerField(null=True)  # of a part of a table

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="file_path")]
        # The newest version that holds some bytes, of the many that may.
        indexes = [models.Index(fields=["artifact", "-version"], name="file_held")]

    @property
    def table_digest(self) -> str:
        """What a job names as its table: the digest of this file, or of the version whose table has it as a part."""
        return self.version.digest if self.version.parts else str(self.artifact_id)


class VersionTag(models.Model):
    """A name for a version, of one dataset; it may move to another version, the version never changes."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="tags")
    name = models.CharField(max_length=60)
    version = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="tags")
    created_by = models.CharField(max_length=200)  # who set it, or moved it last
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "name"], name="version_tag_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def project_id(self) -> int:
        return self.dataset.project_id
