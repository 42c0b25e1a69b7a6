"""Datasets and their versions. A version is a manifest of files by digest, and is never changed."""

from __future__ import annotations

from django.db import models

from apps.accounts.models import SLUG, Project
from apps.actors import Actor
from apps.artifacts.models import Artifact


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def visible_to(self, actor: Actor) -> DatasetQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Dataset(models.Model):
    project = models.ForeignKey(Project, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=50, validators=[SLUG])
    description = models.CharField(max_length=500, blank=True)
    versions_count = models.IntegerField(default=0)  # the number of the newest version; the lock that numbers them
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="dataset_name")]

    def __str__(self) -> str:
        return self.name


class DatasetVersionQuerySet(models.QuerySet["DatasetVersion"]):
    def visible_to(self, actor: Actor) -> DatasetVersionQuerySet:
        return self if actor.plane_role else self.filter(dataset__project_id__in=actor.project_ids)


class DatasetVersion(models.Model):
    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="versions")
    number = models.IntegerField()
    digest = models.CharField(max_length=64)  # of the canonical manifest
    manifest = models.TextField()
    media_type = models.CharField(max_length=120)
    rows = models.BigIntegerField(null=True)
    size = models.BigIntegerField()
    columns = models.JSONField(default=list)  # [{name, dtype}]
    script = models.CharField(max_length=200, blank=True)  # what made it: "upload" or "deepseek.clean 0.1.0"
    params = models.JSONField(default=dict)
    job_id = models.BigIntegerField(null=True)  # lineage holds the edge; this is the short way there
    quality = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")  # report, once measured
    note = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DatasetVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="version_number"),
            # The same bytes twice are the same version: a second registration finds the first.
            models.UniqueConstraint(fields=["dataset", "digest"], name="version_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def project_id(self) -> int:
        return self.dataset.project_id


class DatasetFile(models.Model):
    version = models.ForeignKey(DatasetVersion, models.CASCADE, related_name="files")
    path = models.CharField(max_length=255)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    media_type = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="file_path")]
