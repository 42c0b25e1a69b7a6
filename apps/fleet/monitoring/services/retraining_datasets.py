"""Retraining on a dataset that its plan names, for what observations cannot carry: images, texts."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from apps.data.datasets.models import DatasetVersion
from apps.fleet.monitoring.retraining.dataset_recipe import DatasetRecipe, find_dataset_recipe
from apps.fleet.monitoring.retraining.states import RetrainingState
from apps.fleet.monitoring.services.retraining_turns import DATA_POLL, StepFailed, Turn, lock_step, move
from apps.ml.pipelines.requests import read_pipeline_request
from apps.ml.pipelines.services import submit_pipeline
from deepseek.messages import Message


def train_on_dataset(turn: Turn) -> timedelta | None:
    """Once the dataset has a version that the former model did not learn from: its pipeline, with that one."""
    retraining, owner = turn.retraining, turn.owner
    recipe, name = find_dataset_recipe(turn.former), retraining.settings["dataset"]
    data = find_fresh_version(turn, recipe, name)
    if data is None and turn.now < retraining.deadline_at:
        return DATA_POLL
    if data is None:
        raise StepFailed(Message("{dataset} has no version newer than {base}.", dataset=name, base=recipe.base))
    body = recipe.build_body(data)
    with transaction.atomic():
        lock_step(turn)
        key = f"retraining-{retraining.pk}"
        request = read_pipeline_request(owner, retraining.project, body, idempotency_key=key)
        pipeline, _new = submit_pipeline(actor=owner, project=retraining.project, request=request)
        move(turn, RetrainingState.TRAINING, data_id=data.pk, pipeline_id=pipeline.pk, until=turn.now)
    return None


def find_fresh_version(turn: Turn, recipe: DatasetRecipe, name: str) -> DatasetVersion | None:
    """The newest version, where it came after the one that the former model learned from and holds something else."""
    rows = DatasetVersion.objects.select_related("dataset__project").filter(
        dataset__project=turn.retraining.project_id, dataset__name=name, deleted_at=None
    )
    newest = rows.order_by("-number").first()
    if newest is None or newest.digest == recipe.base.digest or newest.created_at <= recipe.base.created_at:
        return None
    return newest
