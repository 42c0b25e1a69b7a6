"""Which runs may be ranked by a metric, and which of them is best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from apps.experiments.models import Metric, Run, RunDataset, RunParam

DATA_SLOTS = ("table", "heldout")  # inputs that hold the rows which a job learns from or is measured on
LEARNED_PARAMS = ("task", "target")
COMPILE = "compile"  # its `target` is a machine


def find_obstacle(runs: Sequence[Run]) -> str:
    """Why a metric does not rank these runs: "kind", "target" or "data" if they differ in it, else "".

    One query, and one more where clients recorded some of the runs.
    """
    if len({run.kind for run in runs}) > 1:
        return "kind"
    if differ_in_target(runs):
        return "target"
    return "data" if differ_in_data(runs) else ""


def differ_in_target(runs: Sequence[Run]) -> bool:
    found: dict[str, dict[str, str]] = {run.pk: {} for run in runs if run.kind != COMPILE}
    params = RunParam.objects.filter(run__in=list(found), key__in=LEARNED_PARAMS)
    for run, key, value in params.values_list("run_id", "key", "value"):
        found[run][key] = value
    return len({frozenset(params.items()) for params in found.values()}) > 1


def differ_in_data(runs: Sequence[Run]) -> bool:
    named: dict[str, set[str]] = defaultdict(set)
    if recorded := [run.pk for run in runs if not run.kind]:
        for run, digest in RunDataset.objects.filter(run__in=recorded).values_list("run_id", "digest"):
            named[run].add(digest)
    used = {frozenset(named[run.pk] | {run.inputs[slot] for slot in DATA_SLOTS if slot in run.inputs}) for run in runs}
    return len(used) > 1


def list_best(metrics: Sequence[Metric | None], better: str) -> list[Metric]:
    """The newest values that none surpasses, where at least two values differ; more than one: a tie."""
    found = [metric for metric in metrics if metric is not None and not metric.is_nan]
    values = {metric.value for metric in found}
    if len(values) < 2:
        return []
    best = (min if better == "lower" else max)(values)
    return [metric for metric in found if metric.value == best]


def rank_runs(
    runs: Sequence[Run], keys: Sequence[str], better: Mapping[str, str], values: Mapping[str, Mapping[str, Metric]]
) -> dict[str, Any] | None:
    """The best of these runs by the first of `keys` whose better end is known; or the obstacle to ranking them."""
    for key in keys:
        metrics = [values.get(run.pk, {}).get(key) for run in runs]
        best = list_best(metrics, better[key]) if key in better else []
        if best:
            measured = [run for run, metric in zip(runs, metrics, strict=True) if metric is not None]
            if obstacle := find_obstacle(measured):
                return {"obstacle": obstacle, "key": key, "runs": []}
            winners = {metric.run_id for metric in best}
            found = [run for run in measured if run.pk in winners]
            return {"obstacle": "", "key": key, "runs": found, "value": best[0].value}
    return None
