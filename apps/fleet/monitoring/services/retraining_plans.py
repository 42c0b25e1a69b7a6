"""What people decide about retraining: whether an alarm starts one, within which limits, and to stop one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.core.request_values import validate_choice
from apps.data.datasets.models import Dataset
from apps.fleet.monitoring.limits import build_range_error
from apps.fleet.monitoring.models import Monitor, Retraining, RetrainingPlan
from apps.fleet.monitoring.retraining.dataset_recipe import find_dataset_recipe
from apps.fleet.monitoring.retraining.recipe import find_recipe
from apps.fleet.monitoring.retraining.states import CANCELLABLE, DataMode, RetrainingState
from apps.fleet.monitoring.services.monitors import lock_monitor
from apps.fleet.monitoring.states import Cause
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.services import cancel_pipeline
from apps.ml.registry.models import Alias, ModelVersion
from apps.ml.registry.states import PRODUCTION
from apps.platform.audit.services import change_state, record
from apps.platform.calendars.services.schedules import build_grant
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_, Message

NEEDED_RIGHTS = ("observation.make_dataset", "job.submit", "pipeline.submit", "model.request_promotion")
"""Besides `evaluation_set.create` and `approval.request`, which come with them."""
RETRAINING_CAUSES = tuple(cause for cause in Cause.values if cause != Cause.SILENCE)  # silence brings no labels
PLAN_RANGES = {"weekly_budget": (1, 50), "min_rows": (10, 1_000_000), "wait_hours": (0, 720)}
FRESH_SHARES = (0.05, 0.5)
PLAN_FIELDS = ("causes", "mode", "fresh_share", *PLAN_RANGES)  # and `dataset`


def set_retraining_plan(*, actor: Actor, monitor: Monitor, **values: Any) -> RetrainingPlan:
    """Have the monitor's model trained again after an alarm, with the rights that the actor has then.

    What is left out stays, or is as the table has it. Raises Invalid for a field, and `no_recipe` for a model that the
    plane cannot train again.
    """
    require(actor, "monitor.set_retraining", monitor)
    for action in NEEDED_RIGHTS:
        require(actor, action, monitor.project)
    version = get_retrained_version(monitor)
    with transaction.atomic():
        locked = lock_monitor(monitor)
        plan = RetrainingPlan.objects.select_related("dataset").filter(monitor=locked).first()
        before = describe_plan(plan)
        plan = plan or RetrainingPlan(monitor=locked, causes=[Cause.DROP.value])
        for field, value in values.items():
            setattr(plan, field, find_plan_dataset(monitor, value) if field == "dataset" else value)
        check_plan(plan)
        if plan.dataset is None:
            find_recipe(actor, version)
        else:
            find_dataset_recipe(version)
        plan.grant, plan.set_by, plan.set_at = build_grant(actor), actor.label[:200], get_database_now()
        plan.save()
        record(actor=actor, action="monitor.set_retraining", obj=locked, before=before, after=describe_plan(plan))
    return plan


def remove_retraining_plan(*, actor: Actor, monitor: Monitor, reason: str = "") -> None:
    """Train nothing again by itself. One that has begun goes on; without a plan nothing changes."""
    require(actor, "monitor.set_retraining", monitor)
    with transaction.atomic():
        locked = lock_monitor(monitor)
        plan = RetrainingPlan.objects.filter(monitor=locked).first()
        if plan is not None:
            before = describe_plan(plan)
            plan.delete()
            record(actor=actor, action="monitor.remove_retraining", obj=locked, reason=reason, before=before)


def cancel_retraining(*, actor: Actor, retraining: Retraining, reason: str = "") -> Retraining:
    """Stop one before anybody is asked to approve it, with its job or pipeline. Raises Conflict after that: the
    request for approval is rejected or withdrawn."""
    require(actor, "retraining.cancel", retraining)
    with transaction.atomic():
        locked = lock_retraining(retraining.pk)
        if locked.state not in CANCELLABLE:
            raise Conflict(
                "The retraining is {state}, and cannot be cancelled.",
                state=locked.state,
                code="retraining_state",
                field="state",
                limit=", ".join(CANCELLABLE),
                hint=N_("Withdraw or reject its request for approval, if that is pending."),
            )
        now = get_database_now()
        change_state(locked, RetrainingState.CANCELLED, actor=actor, reason=reason, ended_at=now, next_at=None)
        cancel_work(actor, locked, Message("Its retraining was cancelled."))
    return locked


def retry_retraining(*, actor: Actor, retraining: Retraining) -> Retraining:
    """Begin one that the budget refused, with the plan as it is now and the rights that the actor has then.

    Raises Conflict `retraining_state` for any other, and `retraining_active` while one of its model has not ended.
    """
    require(actor, "retraining.retry", retraining)
    for action in NEEDED_RIGHTS:
        require(actor, action, retraining.project)
    try:
        with transaction.atomic():
            locked = lock_retraining(retraining.pk)
            if locked.state != RetrainingState.REFUSED:
                raise build_retry_conflict(locked.state)
            plan = RetrainingPlan.objects.select_related("dataset").filter(monitor=locked.monitor).first()
            settings = describe_plan(plan) or locked.settings
            now = get_database_now()
            fields: dict[str, Any] = {
                "settings": settings,
                "grant": build_grant(actor),
                "state_reason": {},
                "ended_at": None,
            }
            fields |= {"created_at": now, "deadline_at": now + timedelta(hours=settings["wait_hours"]), "next_at": now}
            change_state(locked, RetrainingState.QUEUED, actor=actor, action="retraining.retry", **fields)
    except IntegrityError:
        raise Conflict(
            "A retraining of {model} has not ended.",
            model=retraining.model.name,
            code="retraining_active",
            field="state",
            hint=N_("Wait until it has ended or its request for approval is decided, or cancel it."),
        ) from None
    return locked


def build_retry_conflict(state: str) -> Conflict:
    return Conflict(
        "The retraining is {state}: only one that was not started can be begun.",
        state=state,
        code="retraining_state",
        field="state",
        limit=RetrainingState.REFUSED,
    )


def cancel_work(actor: Actor, retraining: Retraining, reason: str) -> None:
    """What it waits for; what has ended stays as it is."""
    keys = [each["job"] for each in retraining.evaluations] + [retraining.data_job_id]
    for job in Job.objects.filter(pk__in=[key for key in keys if key is not None]):
        attempt_cancel(lambda job=job: cancel_job(actor=actor, job=job, reason=reason))
    if retraining.pipeline_id is not None:
        pipeline = Pipeline.objects.select_related("project").get(pk=retraining.pipeline_id)
        attempt_cancel(lambda: cancel_pipeline(actor=actor, pipeline=pipeline, reason=reason))


def attempt_cancel(cancel: Any) -> None:
    try:
        with transaction.atomic():
            cancel()
    except Conflict:  # it has ended
        return


def lock_retraining(pk: int) -> Retraining:
    rows = Retraining.objects.select_for_update(of=("self",))
    return rows.select_related("project", "monitor", "alarm", "model").get(pk=pk)


def get_retrained_version(monitor: Monitor) -> ModelVersion:
    """The version that is in production, or the newest: it is looked at when a plan is set. Invalid without one."""
    versions = ModelVersion.objects.select_related("model__project").filter(model=monitor.model, deleted_at=None)
    alias = Alias.objects.filter(model=monitor.model, name=PRODUCTION).values_list("version", flat=True).first()
    version = versions.filter(pk=alias).first() if alias else versions.order_by("-number").first()
    if version is None:
        raise Invalid("{model} has no version.", model=monitor.model.name, code="no_recipe", field="model")
    return version


# -- checks ---------------------------------------------------------------------------------------------------------
def check_plan(plan: RetrainingPlan) -> None:
    causes: Sequence[str] = plan.causes
    if not causes:
        raise Invalid("Name at least one cause.", code="required", field="causes", limit=", ".join(RETRAINING_CAUSES))
    for cause in causes:
        validate_choice("causes", cause, RETRAINING_CAUSES, required=True)
    plan.causes = list(dict.fromkeys(causes))
    validate_choice("mode", plan.mode, DataMode.values, required=True)
    for field, (low, high) in PLAN_RANGES.items():
        if not low <= getattr(plan, field) <= high:
            raise build_range_error(field, getattr(plan, field), f"{low} to {high}")
    low_share, high_share = FRESH_SHARES
    if not (math.isfinite(plan.fresh_share) and low_share <= plan.fresh_share <= high_share):
        raise build_range_error("fresh_share", plan.fresh_share, f"{low_share} to {high_share}")


def describe_plan(plan: RetrainingPlan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    dataset = plan.dataset.name if plan.dataset is not None else ""
    return {**{name: getattr(plan, name) for name in PLAN_FIELDS}, "dataset": dataset}


def find_plan_dataset(monitor: Monitor, name: str) -> Dataset | None:
    """The dataset of this name in the monitor's project; None for no name, Invalid for one that there is not."""
    if not name:
        return None
    dataset = Dataset.objects.filter(project=monitor.project_id, name=name).first()
    if dataset is None:
        hint = N_("Leave it empty to train on answers with labels.")
        raise Invalid("There is no dataset {name!r}.", name=name[:60], code="invalid", field="dataset", hint=hint)
    return dataset
