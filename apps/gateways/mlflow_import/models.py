"""Which runs came from an MLflow server or file store, and how far each was taken over."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.ml.experiments.models import Run


class ImportedRun(models.Model):
    """Until it is `complete` its run counts as deleted, so that nobody takes a part of its points for all of them."""

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True, related_name="imported")
    source = models.CharField(max_length=500)
    mark = models.CharField(max_length=64, blank=True)  # SourceRun.mark of the metrics that were read last
    complete = models.BooleanField(default=False)
    links = models.JSONField(default=list)  # [[model, direction, step]]: logged models, until those are there
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["source", "run"], name="imported_run_by_source")]
