"""Git history of a dataset: a repository's folder is built, and can be rebuilt, from these rows alone."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.platform.artifacts.models import Artifact

SHA = 40  # hex digits: Git's object names are SHA-1; what is trusted is the manifest's SHA-256


class CommitQuerySet(models.QuerySet["Commit"]):
    def visible_to(self, actor: Actor) -> CommitQuerySet:
        own = self if actor.plane_role else self.filter(dataset__project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(dataset__security_label__lte=actor.clearance)


class Commit(models.Model):
    """A commit that `main` pointed to. Those of a dataset stand in one line: each descends from the one before it.

    A push may bring several commits; its last one stands here, the others are in its pack. A version has at least
    one; a second one where another commit has the same files. The first commit of a dataset may have no version.
    """

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="commits")
    position = models.IntegerField()  # from 0, without gaps
    sha = models.CharField(max_length=SHA)
    # Where a version is collected as garbage its commit stays: history is not rewritten, its pointers lead nowhere.
    version = models.ForeignKey(DatasetVersion, models.SET_NULL, null=True, related_name="commits")
    author = models.CharField(max_length=200)
    authored_at = models.DateTimeField()
    kept = models.JSONField(default=dict)  # {path: text} of .gitattributes and the like, which no manifest names
    pack = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")  # what a push brought; else Objects
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CommitQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "position"], name="commit_position"),
            models.UniqueConstraint(fields=["dataset", "sha"], name="commit_sha"),
        ]

    def __str__(self) -> str:
        return self.sha


class Objects(models.Model):
    """What a commit that the plane made adds to the ones before it (objects.py has the form); a few hundred bytes."""

    commit = models.OneToOneField(Commit, models.CASCADE, primary_key=True, related_name="added")
    data = models.BinaryField()


class LockQuerySet(models.QuerySet["Lock"]):
    def visible_to(self, actor: Actor) -> LockQuerySet:
        own = self if actor.plane_role else self.filter(dataset__project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(dataset__security_label__lte=actor.clearance)


class Lock(models.Model):
    """Somebody works on this path of `main`: nobody else's push may change it."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="locks")
    path = models.CharField(max_length=255)
    owner = models.CharField(max_length=200)
    user_id = models.BigIntegerField(null=True)
    service_account_id = models.BigIntegerField(null=True)
    locked_at = models.DateTimeField(auto_now_add=True)

    objects = LockQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "path"], name="lock_path")]

    @property
    def project_id(self) -> int:
        return self.dataset.project_id

    def is_of(self, actor: Actor) -> bool:
        return (self.user_id, self.service_account_id) == (actor.user_id, actor.service_account_id)
