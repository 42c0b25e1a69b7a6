"""Which runs may be ranked by a metric, and which of them is best."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Value

from apps.ml.experiments.models import Metric, Run, RunDataset, RunParam
from apps.platform.jobs.models import JobOutput
from deepseek.images.spec import IMAGES
from deepseek.script.spec import CODE

HELDOUT = "heldout"  # the slot of the rows that a model was measured on: a training's output, another job's input
DATA_SLOTS = ("table", "texts", HELDOUT)  # inputs that hold the rows which a job learns from or is measured on
LEARNED_PARAMS = ("task", "target")
COMPILE = "compile"  # its `target` is a machine
SCRIPT, TRAIN_IMAGE = "script", "train_image"
TEST = "test/"  # in front of the name of a metric that was measured on held-out rows


@dataclass(frozen=True, slots=True)
class RankingGroup:
    """What runs must have in common for a metric to rank them."""

    kind: str
    task: str = ""
    target: str = ""
    evaluation: frozenset[str] = field(default_factory=frozenset)  # digests of the rows that the metric was measured on

    def find_difference(self, other: RankingGroup) -> str:
        """ "kind", "task", "target" or "data", the first in which they differ; "" if they are equal."""
        names = {"kind": "kind", "task": "task", "target": "target", "evaluation": "data"}
        return next((label for name, label in names.items() if getattr(self, name) != getattr(other, name)), "")


@dataclass(slots=True)
class RankingFacts:
    """What is known of some runs that decides with which others they can be ranked."""

    runs: Sequence[Run]
    params: dict[str, dict[str, str]]  # {run: {parameter: value}} of LEARNED_PARAMS
    recorded: dict[str, set[str]]  # {run: digests of the datasets that a client named}
    held_out: dict[str, set[str]]  # {run: digests of the rows that its job held out}

    def group_runs(self, key: str) -> dict[str, RankingGroup]:
        """{run: the group in which the metric `key` ranks it}.

        A metric of held-out rows compares runs that were measured on the same of them, whatever they learned from. Any
        other was measured on a part of what the run read, so all of that has to be the same.
        """
        return {run.pk: self.build_group(run, key) for run in self.runs}

    def build_group(self, run: Run, key: str) -> RankingGroup:
        task, target = (self.params[run.pk].get(name, "") if run.kind != COMPILE else "" for name in LEARNED_PARAMS)
        evaluation = get_evaluation_digests(run, key, self.held_out[run.pk], self.recorded[run.pk])
        return RankingGroup(run.kind, task, target, evaluation)


def load_ranking_facts(runs: Sequence[Run], params: Mapping[str, Mapping[str, str]] | None = None) -> RankingFacts:
    """At most one query. `params`: {run: {parameter: value}} with LEARNED_PARAMS, where they have been read."""
    learned = [run.pk for run in runs if run.kind != COMPILE]
    recorded_runs = [run.pk for run in runs if not run.kind]
    jobs = [run.job_id for run in runs if run.job_id is not None]
    facts = RankingFacts(runs, defaultdict(dict), defaultdict(set), defaultdict(set))
    for run_id, run_params in (params or {}).items():
        facts.params[run_id] |= run_params
    for run_id, name, value in list_facts([] if params else learned, recorded_runs, jobs):
        if name == HELDOUT:
            facts.held_out[run_id].add(value)
        elif name:
            facts.params[run_id][name] = value
        else:
            facts.recorded[run_id].add(value)
    return facts


def get_evaluation_digests(run: Run, key: str, outputs: set[str], recorded: set[str]) -> frozenset[str]:
    """`outputs`: held-out rows that the run's job made; `recorded`: datasets that a client named."""
    held_out = outputs or ({run.inputs[HELDOUT]} if HELDOUT in run.inputs else set())
    if key.startswith(TEST) and held_out:
        return frozenset(held_out)
    return frozenset(recorded | list_data_digests(run) | outputs)


def find_obstacle(runs: Sequence[Run], params: Mapping[str, Mapping[str, str]] | None = None, *, key: str = "") -> str:
    """Why the metric `key` does not rank these runs: "kind", "task", "target" or "data" if they differ in it, else "".

    At most one query. `params`: as of load_ranking_facts.
    """
    if len({run.kind for run in runs}) > 1:
        return "kind"
    return find_group_obstacle(load_ranking_facts(runs, params).group_runs(key).values())


def find_group_obstacle(groups: Iterable[RankingGroup]) -> str:
    """The first of "kind", "task", "target" and "data" in which any two of these differ, or ""."""
    first, *others = dict.fromkeys(groups) or [None]
    differences = {first.find_difference(other) for other in others} if first is not None else set()
    return next((name for name in ("kind", "task", "target", "data") if name in differences), "")


def list_data_digests(run: Run) -> set[str]:
    """Of the inputs that hold rows. A script's are all but its code: each is a file of a dataset version.

    Those of a model of images are its images.
    """
    if run.kind == SCRIPT:
        return {digest for slot, digest in run.inputs.items() if slot.partition("/")[0] != CODE}
    if run.kind == TRAIN_IMAGE:
        return {digest for slot, digest in run.inputs.items() if slot.partition("/")[0] == IMAGES}
    return {run.inputs[slot] for slot in DATA_SLOTS if slot in run.inputs}


def list_facts(
    learned: Sequence[str], recorded: Sequence[str], trained: Sequence[int]
) -> Iterable[tuple[str, str, str]]:
    """(run, parameter, value) of the runs in `learned`, (run, "", digest) of the datasets of those in `recorded`, and
    (run, HELDOUT, digest) of the rows that the jobs in `trained` held out."""
    parts = []
    if learned:
        params = RunParam.objects.filter(run__in=learned, key__in=LEARNED_PARAMS)
        parts.append(params.values_list("run_id", "key", "value"))
    if recorded:
        datasets = RunDataset.objects.filter(run__in=recorded).annotate(key=Value(""))
        parts.append(datasets.values_list("run_id", "key", "digest"))
    if trained:
        outputs = JobOutput.objects.filter(job__in=trained, slot=HELDOUT, job__run__isnull=False)
        parts.append(outputs.values_list(F("job__run__pk"), "slot", "artifact_id"))
    if not parts:
        return ()
    return parts[0].union(*parts[1:], all=True) if parts[1:] else parts[0]


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
    """The best of these runs by the first of `keys` whose better end is known; or the obstacle to ranking them.

    `group` is what the ranked runs have in common; `groups`, where they are not ranked, is [(group, how many runs)],
    the largest first.
    """
    for key in keys:
        metrics = [values.get(run.pk, {}).get(key) for run in runs]
        best = list_best(metrics, better[key]) if key in better else []
        if best:
            measured = [run for run, metric in zip(runs, metrics, strict=True) if metric is not None]
            groups = load_ranking_facts(measured).group_runs(key)
            if obstacle := find_group_obstacle(groups.values()):
                counts = Counter(groups.values()).most_common()
                return {"obstacle": obstacle, "key": key, "runs": [], "groups": counts}
            winners = {metric.run_id for metric in best}
            best_runs = [run for run in measured if run.pk in winners]
            group = groups[best_runs[0].pk]
            ranking = {"obstacle": "", "key": key, "runs": best_runs, "value": best[0].value}
            return {**ranking, "group": group, "ranked": len(measured), "sample": best_runs[0]}
    return None
