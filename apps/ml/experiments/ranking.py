"""Which runs may be ranked by a metric, and which of them is best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Value

from apps.ml.experiments.models import Metric, Run, RunDataset, RunParam
from deepseek.images.spec import IMAGES
from deepseek.script.spec import CODE

DATA_SLOTS = ("table", "texts", "heldout")  # inputs that hold the rows which a job learns from or is measured on
LEARNED_PARAMS = ("task", "target")
COMPILE = "compile"  # its `target` is a machine
SCRIPT, TRAIN_IMAGE = "script", "train_image"


def find_obstacle(runs: Sequence[Run], params: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Why a metric does not rank these runs: "kind", "target" or "data" if they differ in it, else "".

    At most one query. `params`: {run: {parameter: value}} with LEARNED_PARAMS, where they have been read.
    """
    if len({run.kind for run in runs}) > 1:
        return "kind"
    learned = [run.pk for run in runs if run.kind != COMPILE]
    recorded = [run.pk for run in runs if not run.kind]
    targets: dict[str, dict[str, str]] = {run: dict(params[run]) if params else {} for run in learned}
    data: dict[str, set[str]] = defaultdict(set)
    for run, key, value in list_facts([] if params else learned, recorded):
        if key:
            targets[run][key] = value
        else:
            data[run].add(value)
    if len({frozenset(params_of_run.items()) for params_of_run in targets.values()}) > 1:
        return "target"
    used = {frozenset(data[run.pk] | list_data_digests(run)) for run in runs}
    return "data" if len(used) > 1 else ""


def list_data_digests(run: Run) -> set[str]:
    """Of the inputs that hold rows. A script's are all but its code: each is a file of a dataset version.

    Those of a model of images are its images.
    """
    if run.kind == SCRIPT:
        return {digest for slot, digest in run.inputs.items() if slot.partition("/")[0] != CODE}
    if run.kind == TRAIN_IMAGE:
        return {digest for slot, digest in run.inputs.items() if slot.partition("/")[0] == IMAGES}
    return {run.inputs[slot] for slot in DATA_SLOTS if slot in run.inputs}


def list_facts(learned: Sequence[str], recorded: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """(run, parameter, value) of the runs in `learned`; (run, "", digest) of the datasets of those in `recorded`."""
    params = RunParam.objects.filter(run__in=learned, key__in=LEARNED_PARAMS).values_list("run_id", "key", "value")
    if not recorded:
        return params if learned else ()
    datasets = (
        RunDataset.objects.filter(run__in=recorded).annotate(key=Value("")).values_list("run_id", "key", "digest")
    )
    return params.union(datasets, all=True)


def list_best(metrics: Sequence[Metric | None], better: str) -> list[Metric]:
    """The newest values that none surpasses, where at least two values differ; more than one: a tie."""
    numbers = [metric for metric in metrics if metric is not None and not metric.is_nan]
    values = {metric.value for metric in numbers}
    if len(values) < 2:
        return []
    best = (min if better == "lower" else max)(values)
    return [metric for metric in numbers if metric.value == best]


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
            best_runs = [run for run in measured if run.pk in winners]
            return {"obstacle": "", "key": key, "runs": best_runs, "value": best[0].value}
    return None
