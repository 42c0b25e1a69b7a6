"""What pages and REST read of sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db.models import Count

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.ml.experiments.models import Run
from apps.ml.sweeps.models import Sweep, SweepQuerySet, SweepTrial
from apps.ml.sweeps.states import SweepState, TrialState
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.queries import MAX_ID
from deepseek.sweep.spec import SweepSettings

FILTERS = ("state", "kind", "requester", "name")


def list_sweeps(
    actor: Actor, project: Project, *, state: str = "", kind: str = "", requester: str = "", name: str = ""
) -> SweepQuerySet:
    """The sweeps of the project that fit. Raises Invalid for a state or kind that there is none of."""
    policy.require(actor, "sweep.view", project)
    validate_choice("state", state, SweepState.values)
    validate_choice("kind", kind, [key for key, each in KINDS.items() if each.tunable])
    sweeps = Sweep.objects.visible_to(actor).filter(project=project)
    narrow = {"state": state, "kind": kind, "requester": requester, "name__icontains": name}
    return sweeps.filter(**{field: value for field, value in narrow.items() if value})


def get_sweep(actor: Actor, project: Project, pk: int) -> Sweep:
    policy.require(actor, "sweep.view", project)
    rows = Sweep.objects.visible_to(actor).select_related("project", "run")
    sweep = rows.filter(project=project, pk=pk).first() if pk <= MAX_ID else None
    if sweep is None:
        raise NotFound("There is no sweep {pk} in this project.", pk=pk, field="sweep")
    return sweep


def list_trials(sweep: Sweep) -> list[SweepTrial]:
    """All trials by number, with their jobs and runs."""
    rows = sweep.trials.select_related("job__run").defer("job__spec", "job__grant", "job__run__figures")
    return list(rows.order_by("number"))


def get_trial_run(trial: SweepTrial) -> Run | None:
    return getattr(trial.job, "run", None) if trial.job is not None else None


def count_trials(sweep_ids: Iterable[int]) -> dict[int, Counter[str]]:
    """{sweep: how many of its trials are in each state}."""
    counts: dict[int, Counter[str]] = {pk: Counter() for pk in sweep_ids}
    rows = SweepTrial.objects.filter(sweep__in=list(counts)).order_by().values_list("sweep", "state")
    for sweep, state, number in rows.annotate(Count("pk")):
        counts[sweep][state] = number
    return counts


def find_best_trial(trials: Iterable[SweepTrial], settings: SweepSettings) -> SweepTrial | None:
    """The trial that has succeeded with the best value, the first of several."""
    done = [trial for trial in trials if trial.state == TrialState.SUCCEEDED and trial.objective is not None]
    if not done:
        return None
    sign = 1 if settings.direction == "minimize" else -1
    return min(done, key=lambda trial: (sign * (trial.objective or 0.0), trial.number))
