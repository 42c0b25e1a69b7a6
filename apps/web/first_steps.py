"""The first steps of a new account, from a table to a model that serves. Home lists them until done or hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.fleet.rollouts.models import Rollout
from apps.ml.endpoints.models import Endpoint
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

TRAINING_KINDS = ("train", "train_entities", "train_image", "train_language")


def build_step_filters(actor: Actor, project: Project | None) -> dict[str, Any]:
    """Whether somebody has trained, registered and deployed, as annotations of another query."""
    jobs = Job.objects.visible_to(actor).filter(state=JobState.SUCCEEDED, kind__in=TRAINING_KINDS)
    models = ModelVersion.objects.visible_to(actor)
    endpoints, rollouts = Endpoint.objects.visible_to(actor), Rollout.objects.visible_to(actor)
    if project is not None:
        jobs, models = jobs.filter(project=project), models.filter(model__project=project)
        endpoints, rollouts = endpoints.filter(project=project), rollouts.filter(project=project)
    return {
        "has_training": Exists(jobs),
        "has_model": Exists(models),
        "has_deployment": ExpressionWrapper(Exists(endpoints) | Exists(rollouts), output_field=BooleanField()),
    }


def list_first_steps(
    project: Project | None, versions: Sequence[DatasetVersion], *, api: str, always: bool = False
) -> list[dict[str, Any]]:
    """The four steps, each with whether it is done; none once all are, unless `always`. No query.

    `versions`: the newest data, with the annotations of `build_step_filters`.
    `api`: the address of the REST interface, for the command to copy.
    """
    done = dict.fromkeys(("has_training", "has_model", "has_deployment"), False)
    if versions:
        done = {name: bool(getattr(versions[0], name)) for name in done}
    steps = {
        "upload": bool(versions),
        "train": done["has_training"] or done["has_model"],  # a registered model was trained somewhere
        "register": done["has_model"],
        "deploy": done["has_deployment"],
    }
    if all(steps.values()) and not always:
        return []
    command = build_upload_command(api, project.slug if project else "PROJECT")
    return [{"key": key, "done": is_done, "command": command} for key, is_done in steps.items()]


def build_upload_command(api: str, slug: str) -> str:
    """A file goes in under its own SHA-256."""
    url = f'{api}/projects/{slug}/artifacts/$(sha256sum table.csv | cut -c1-64)"'
    return f'curl -T table.csv -H "Authorization: Bearer $TOKEN" -H "Content-Type: text/csv" "{url}'
