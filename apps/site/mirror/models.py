"""The package index of the plane: packages, their versions and files, and the advisories about them.

It belongs to the plane as a whole: whoever may read the index sees every package in it.
"""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact


class IndexSerial(models.Model):
    """One row: how many changes the index has seen. Whoever changes it locks the row first, so changes come in turn."""

    serial = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"serial {self.serial}"


class PackageQuerySet(models.QuerySet["Package"]):
    def visible_to(self, actor: Actor) -> PackageQuerySet:
        """All of them to whoever may read the index."""
        return self if is_allowed(actor, "package.view") else self.none()


class Package(models.Model):
    """One name of the index."""

    name = models.CharField(max_length=200, unique=True)  # normalised (PEP 503)
    display_name = models.CharField(max_length=200)  # as its first file spells it
    skeleton = models.CharField(max_length=200, db_index=True)  # equal for names that look alike
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="+")  # whose it is; null: the plane's
    summary = models.CharField(max_length=500, blank=True)
    latest_version = models.CharField(max_length=100, blank=True)  # the newest that is not yanked
    version_count = models.PositiveIntegerField(default=0)
    advisory_count = models.PositiveIntegerField(default=0)  # of its newest version
    serial = models.BigIntegerField(default=0)  # of the index when it changed last
    changed_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PackageQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-changed_at", "-id"], name="package_recent"),
            models.Index(fields=["-advisory_count", "-id"], name="package_vulnerable"),
        ]

    def __str__(self) -> str:
        return self.name


class PackageVersion(models.Model):
    package = models.ForeignKey(Package, models.CASCADE, related_name="versions", db_index=False)
    version = models.CharField(max_length=100)  # normalised (PEP 440)
    yanked_at = models.DateTimeField(null=True)
    yanked_by = models.CharField(max_length=200, blank=True)
    yank_reason = models.CharField(max_length=500, blank=True)
    advisory_ids = models.JSONField(default=list)  # of the last import of advisories, or of its own publication
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["package", "version"], name="package_version_once")]

    def __str__(self) -> str:
        return f"{self.package.name} {self.version}"

    @property
    def project_id(self) -> int | None:
        """For the policy: whose package it is."""
        return self.package.project_id


class PackageDependency(models.Model):
    """A name that a version requires, with whatever marker or extra: for the question what uses a package."""

    version = models.ForeignKey(PackageVersion, models.CASCADE, related_name="dependencies", db_index=False)
    name = models.CharField(max_length=200, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "name"], name="package_dependency_once")]

    def __str__(self) -> str:
        return self.name


class PackageFile(models.Model):
    """A wheel or a source archive. Never changed: the same name with other bytes is refused."""

    version = models.ForeignKey(PackageVersion, models.CASCADE, related_name="files")
    filename = models.CharField(max_length=255, unique=True)
    filetype = models.CharField(max_length=20)  # bdist_wheel, sdist
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    metadata = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")  # METADATA, byte for byte
    requires_python = models.CharField(max_length=200, blank=True)
    requires_dist = models.JSONField(default=list)
    uploaded_by = models.CharField(max_length=200)
    uploaded_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.filename


class AdvisoryFeed(models.Model):
    """A file of advisories as it was imported; the last one counts."""

    name = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    dated_at = models.DateTimeField(null=True)  # the newest change in it: what is younger, it does not know
    advisories = models.PositiveIntegerField()
    imported_by = models.CharField(max_length=200)
    imported_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} of {self.dated_at}"


class Advisory(models.Model):
    """What a feed says of one package (OSV)."""

    feed = models.ForeignKey(AdvisoryFeed, models.CASCADE, related_name="+")
    advisory_id = models.CharField(max_length=100)
    package_name = models.CharField(max_length=200)  # normalised
    summary = models.CharField(max_length=500, blank=True)
    severity = models.CharField(max_length=100, blank=True)
    aliases = models.JSONField(default=list)
    affected = models.JSONField()  # {"versions": [...], "ranges": [[{"introduced": "0"}, {"fixed": "1.2"}], ...]}
    modified_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["package_name", "advisory_id"], name="advisory_once")]

    def __str__(self) -> str:
        return self.advisory_id


class ContainerImageQuerySet(models.QuerySet["ContainerImage"]):
    def visible_to(self, actor: Actor) -> ContainerImageQuerySet:
        return self if is_allowed(actor, "image.view") else self.none()


class ContainerImage(models.Model):
    """An image that was imported: its manifest, its config and its layers, each by digest. Never changed."""

    manifest_digest = models.CharField(max_length=64, unique=True)  # what pins it
    manifest = models.BinaryField()  # byte for byte
    media_type = models.CharField(max_length=100)
    config = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    architecture = models.CharField(max_length=40)
    size = models.BigIntegerField()  # of config and layers as they are stored
    source_name = models.CharField(max_length=255)  # file that it came in
    imported_by = models.CharField(max_length=200)
    imported_at = models.DateTimeField(auto_now_add=True)

    objects = ContainerImageQuerySet.as_manager()

    def __str__(self) -> str:
        return f"sha256:{self.manifest_digest}"


class ImageLayer(models.Model):
    image = models.ForeignKey(ContainerImage, models.CASCADE, related_name="layers", db_index=False)
    position = models.PositiveIntegerField()
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "position"], name="image_layer_once")]
        ordering = ["position"]

    def __str__(self) -> str:
        return self.artifact_id


class ImageTag(models.Model):
    """A name that leads to an image; it moves only where the operator says so."""

    repository = models.CharField(max_length=200)
    tag = models.CharField(max_length=128)
    image = models.ForeignKey(ContainerImage, models.PROTECT, related_name="tags")
    tagged_by = models.CharField(max_length=200)
    tagged_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "tag"], name="image_tag_once")]
        indexes = [models.Index(fields=["-tagged_at", "-id"], name="image_tag_recent")]

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"
