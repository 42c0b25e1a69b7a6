"""Pipelines as what a schedule submits."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.ml.pipelines.checks import check_steps
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.queries import get_pipeline, is_moving
from apps.ml.pipelines.requests import copy_template_parameters, read_pipeline_request
from apps.ml.pipelines.services import cancel_pipeline, submit_pipeline
from apps.platform.accounts.models import Project
from apps.platform.calendars.targets import Body, ScheduleTarget


def validate_pipeline(actor: Actor, project: Project, body: Body) -> None:
    request = read_pipeline_request(actor, project, dict(body), idempotency_key=None)
    check_steps(actor, project, request.steps, request.name)


def submit_scheduled_pipeline(actor: Actor, project: Project, body: Body, key: str) -> int:
    request = read_pipeline_request(actor, project, dict(body), idempotency_key=key)
    return submit_pipeline(actor=actor, project=project, request=request)[0].pk


def cancel_scheduled_pipeline(actor: Actor, pk: int, reason: str) -> None:
    pipeline = Pipeline.objects.filter(pk=pk).first()
    if pipeline is not None:
        try:
            cancel_pipeline(actor=actor, pipeline=pipeline, reason=reason)
        except Conflict:  # it has ended
            return


def copy_pipeline_request(actor: Actor, project: Project, pk: int) -> dict[str, Any]:
    """The body of the pipeline. One of a template takes the newest version of its dataset, not the one of then."""
    pipeline = get_pipeline(actor, project, pk)
    document = json.loads(pipeline.document)
    if "template" in document and document.get("parameters"):
        copied = copy_template_parameters(document["parameters"])
        parameters = {name: value for name, value in copied.items() if name != "version"}
        body = {"template": document["template"], **parameters, "name": document["name"]}
    else:
        body = {"name": document["name"], "steps": document["steps"]}
    return {name: value for name, value in body.items() if value not in (None, "")}


PIPELINE_TARGET = ScheduleTarget(
    label=_("Pipeline"),
    action="pipeline.submit",
    validate=validate_pipeline,
    submit=submit_scheduled_pipeline,
    is_active=is_moving,
    cancel=cancel_scheduled_pipeline,
    copy_request=copy_pipeline_request,
    url_name="pipelines:detail",
)
