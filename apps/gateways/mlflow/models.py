"""Uploads of one file in several parts. Everything else that MLflow's clients write is in experiments and registry."""

from __future__ import annotations

from uuid import uuid4

from django.db import models

from apps.platform.accounts.models import Project


def new_upload_id() -> str:
    return uuid4().hex


class MultipartUpload(models.Model):
    """Parts on their way into one file. Their bytes lie in an area of the store that is called by this id."""

    id = models.CharField(primary_key=True, max_length=32, default=new_upload_id, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    path = models.CharField(max_length=700)  # where the file is to be, from the root of the artifact store
    parts = models.IntegerField()
    staged = models.BigIntegerField(default=0)  # bytes that came, some perhaps twice
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="multipart_by_age")]

    def __str__(self) -> str:
        return self.path
