"""What workers write of sweeps: the trials that a job has chosen, and whose child a trial's run is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max
from pydantic import ValidationError

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import nest_run
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.schemas import load_request
from apps.ml.sweeps.states import SweepState
from apps.platform.audit.services import record
from apps.platform.jobs.models import Job
from deepseek.sweep.spec import SweepAnswer


def record_answer(*, actor: Actor, job: Job, answer: Mapping[str, Any]) -> int:
    """Make planned trials of what the job chose; how many. In the transaction that ends the job, so that an answer is
    there once or not at all. That of a sweep that has ended meanwhile is left out.

    Raises PlaneError for an answer that does not fit the sweep: the job's process is not trusted.
    """
    require(actor, "sweep.record", job)
    with transaction.atomic():
        sweep = Sweep.objects.select_for_update(no_key=True).filter(ask_job=job, state=SweepState.RUNNING).first()
        if sweep is None:
            return 0
        checked = parse_answer(sweep, answer)
        newest = sweep.trials.aggregate(newest=Max("number"))["newest"]
        first = 0 if newest is None else newest + 1
        SweepTrial.objects.bulk_create(
            SweepTrial(sweep=sweep, number=number, values=values)
            for number, values in enumerate(checked.trials, start=first)
        )
        Sweep.objects.filter(pk=sweep.pk).update(ask_job=None, importance=checked.importance or sweep.importance)
        record(
            actor=actor,
            action="sweep.plan_trials",
            obj=sweep,
            after={"job": job.pk, "first": first, "trials": len(checked.trials)},
        )
    return len(checked.trials)


def parse_answer(sweep: Sweep, answer: Mapping[str, Any]) -> SweepAnswer:
    space = load_request(sweep).settings.space
    names = {parameter.name for parameter in space}
    try:
        checked = SweepAnswer.model_validate_json(json.dumps(answer))
    except (ValidationError, ValueError) as failure:
        raise PlaneError(
            "The answer of the job cannot be read: {failure}.", failure=failure, code="bad_answer"
        ) from None
    if any(len(values) != len(space) for values in checked.trials) or not set(checked.importance) <= names:
        raise PlaneError("The answer of the job does not fit the sweep's parameters.", code="bad_answer")
    return checked


def is_trial(job: Job) -> bool:
    return SweepTrial.objects.filter(job=job).exists()


def adopt_trial_run(*, actor: Actor, job: Job, run: Run) -> None:
    """Make the run of a trial's job a child of the sweep's; of another job's nothing."""
    require(actor, "run.record", job)
    sweep = Sweep.objects.filter(trials__job=job).select_related("run").first()
    if sweep is not None:
        nest_run(actor=actor, run=run, parent=sweep.run)
