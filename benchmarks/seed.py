"""Fill the demo's plane with the past of a busy site: 10,000 jobs, 5,000 runs, 200 versions of models and of datasets.

    make demo                                              first: its two chains are what is copied
    python benchmarks/seed.py [--times 1]                  the plane of PLANE_HOME or DATABASE_URL

Rows are written past the services; ten times as many jobs and runs are copies by SQL, so that it takes minutes and not
days. The audit trail tells only of what the demo did and of SEALED records more. It is for looking and measuring:
refused on a plane that holds anything else than the demo, and twice on the same plane.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django  # noqa: E402

django.setup()

from django.db import models, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from apps.core.actors import PlaneRole, build_plane_actor  # noqa: E402
from apps.core.canonical import sha256_hex  # noqa: E402
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion  # noqa: E402
from apps.ml.experiments.models import Experiment, Metric, MetricBucket, MetricPoint, Run, RunParam  # noqa: E402
from apps.ml.pipelines.models import Pipeline, PipelineStep  # noqa: E402
from apps.ml.registry.models import Model, ModelVersion, Variant  # noqa: E402
from apps.platform.accounts.models import Membership, Project, User  # noqa: E402
from apps.platform.approvals.models import Approval  # noqa: E402
from apps.platform.approvals.states import ApprovalState  # noqa: E402
from apps.platform.audit.sealer import seal_all  # noqa: E402
from apps.platform.audit.services import record  # noqa: E402
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobOutput, JobParent, QueueSample  # noqa: E402
from apps.platform.jobs.states import JobState  # noqa: E402
from apps.platform.lineage.models import Edge  # noqa: E402
from apps.platform.nodes.models import Node, NodeSample  # noqa: E402
from benchmarks import seed_beside, seed_telemetry, seed_times  # noqa: E402

CHAINS = 1670
SINGLE_JOBS = 1634  # 1,670 chains of five, these, and the demo's own sixteen: 10,000
MODEL_VERSIONS, DATASET_VERSIONS, MODELS, DATASETS = 200, 200, 16, 24
APPROVALS, SEALED, DAYS, POINTS = 120, 20_000, 90, 24
OPEN_CHAINS = 12  # the newest: running, queued, waiting
PEOPLE = ["chen.li", "wang.fang", "maria.rossi", "j.okafor", "anna.lindqvist", "陈立"]
TOPICS = ["credit-risk", "ecg-arrhythmia", "weld-defects", "fraud-cards", "bearing-wear", "sepsis-onset", "kiln-temp"]
STEPS = ["clean", "train", "quantize", "compile", "register"]
BATCH = 500
ERRORS = [
    ("out_of_memory", "The engine used 8.1 GB; 8 GB were asked for.", "memory", "8 GB", "Ask for more and retry."),
    ("timed_out", "Not done within 3,600 s.", "time_limit_seconds", 3600, "Raise the limit or train fewer epochs."),
    ("value_missing", "Column 'close' has 48,112 missing values.", "features", 0, "Fill the column or leave it out."),
]


@dataclass
class Seed:
    """What the rows are made from, and where their ids go."""

    project: Project
    now: datetime
    times: int
    random: random.Random = field(default_factory=lambda: random.Random(20261124))
    people: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    experiments: list[Experiment] = field(default_factory=list)


@contextmanager
def own_times(*kinds: type[models.Model]) -> Iterator[None]:
    """Lets rows bring their own `created_at`, which their models otherwise fill with now."""
    fields = [one for kind in kinds for one in kind._meta.fields if getattr(one, "auto_now_add", False)]
    for one in fields:
        one.auto_now_add = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for one in fields:
            one.auto_now_add = True  # type: ignore[attr-defined]


def again(row: models.Model, **changes: Any) -> Any:
    """An unsaved copy of a row."""
    made = copy.copy(row)
    made._state = models.base.ModelState()
    if not isinstance(row, Run):
        made.pk = None
    made.__dict__.update({name: value for name, value in changes.items() if name.endswith("_id") or name == "id"})
    for name, value in changes.items():
        setattr(made, name, value)
    return made


# -- who and where --------------------------------------------------------------------------------------------------
def add_people(seed: Seed) -> None:
    for name in PEOPLE:
        user = User.objects.create(username=name, password="!", must_change_password=False)
        Membership.objects.create(project=seed.project, user=user, role="engineer")
    for slug, name in (("radiology", "Radiology"), ("line-4", "Production line 4")):
        other = Project.objects.create(slug=slug, name=name)
        for user in User.objects.filter(username__in=["engineer", "approver"]):
            Membership.objects.create(project=other, user=user, role="engineer")
    seed.people = [*PEOPLE, "engineer"]


def add_nodes(seed: Seed) -> None:
    card = {"name": "NVIDIA A100-PCIE-40GB", "memory_bytes": 42_949_672_960, "uuid": ""}
    for number in range(1, 9):
        gpus = [{**card, "index": index, "uuid": f"GPU-{number}-{index}"} for index in range(2)] if number <= 5 else []
        load = {"cpu_share": 0.1 * number, "load_1m": 2.0, "memory_free_bytes": 90 * 10**9, "disk_free_bytes": 10**12}
        load["gpus"] = [{"index": one["index"], "share": 0.8, "memory_used_bytes": 21 * 10**9} for one in gpus]
        node = Node.objects.create(
            name=f"gpu-{number:02d}" if gpus else f"cpu-{number:02d}",
            host=f"node{number}.plant.local",
            queues=["gpu", "cpu"] if gpus else ["cpu"],
            cpus=32,
            memory_bytes=128 * 10**9,
            disk_bytes=4 * 10**12,
            gpus=gpus,
            load=load,
            hardware={"processor": "AMD EPYC 7543", "architecture": "x86_64", "cpus_of_board": 32},
            heartbeat_at=seed.now - timedelta(seconds=5 if number != 4 else 7200),
            held_at=seed.now - timedelta(hours=3) if number == 3 else None,
            held_reason="Fan 2 reports 0 rpm." if number == 3 else "",
        )
        seed.nodes.append(node)


# -- chains ---------------------------------------------------------------------------------------------------------
@dataclass
class Template:
    """One of the demo's chains, as it was carried out."""

    pipeline: Pipeline
    jobs: list[Job]
    runs: dict[int, Run]
    metrics: dict[str, list[Metric]]
    params: dict[str, list[RunParam]]
    points: dict[int, list[MetricPoint]]
    events: dict[int, list[JobEvent]]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Template:
        steps = PipelineStep.objects.filter(pipeline=pipeline).order_by("position").select_related("job")
        jobs = [step.job for step in steps]
        runs = {run.job_id: run for run in Run.objects.filter(job__in=jobs)}
        metrics, params, points, events = (defaultdict(list) for _ in range(4))
        for metric in Metric.objects.filter(run__in=runs.values()):
            metrics[metric.run_id].append(metric)
            found = list(MetricPoint.objects.filter(metric=metric).order_by("step"))
            points[metric.pk] = found[:: max(1, math.ceil(len(found) / POINTS))]
        for param in RunParam.objects.filter(run__in=runs.values()):
            params[param.run_id].append(param)
        for event in JobEvent.objects.filter(job__in=jobs, kind__in=("state", "log")):
            events[event.job_id].append(event)
        return cls(pipeline, jobs, runs, metrics, params, points, events)


def states_of(seed: Seed, newest: bool) -> list[str]:
    """The states of a chain's five jobs: most went through, some broke in the middle, the newest are on their way."""
    at = seed.random.randrange(5)
    done = [JobState.SUCCEEDED] * at
    if newest:
        moving = JobState.RUNNING if seed.random.random() < 0.5 else JobState.QUEUED
        return [*done, moving, *[JobState.WAITING] * (4 - at)]
    fate = seed.random.random()
    if fate < 0.06:
        return [*done, JobState.FAILED, *[JobState.CANCELLED] * (4 - at)]
    if fate < 0.09:
        return [*done, *[JobState.CANCELLED] * (5 - at)]
    return [JobState.SUCCEEDED] * 5


def failure(seed: Seed) -> dict[str, Any]:
    return dict(zip(("code", "message", "field", "limit", "hint"), seed.random.choice(ERRORS), strict=True))


def job_like(seed: Seed, job: Job, state: str, start: datetime, who: str, name: str) -> Job:
    took = timedelta(seconds=seed.random.lognormvariate(4, 1))
    begun, over = state not in (JobState.QUEUED, JobState.WAITING), state in ("succeeded", "failed", "cancelled")
    progress = job.progress if over else {}
    if state == JobState.RUNNING:
        progress = {"done": 1200, "total": 4471, "unit": "steps", "stage": "train", "rate": 52.3, "eta_seconds": 62.5}
    return again(
        job,
        name=name,
        state=state,
        node=seed.random.choice(seed.nodes) if begun else None,
        requester=who,
        created_at=start,
        queued_at=start,
        claimed_at=start + timedelta(seconds=1) if begun else None,
        ended_at=start + took if over else None,
        attempt=1 if begun else 0,
        lease_until=seed.now + timedelta(days=30) if state == JobState.RUNNING else None,
        error=failure(seed) if state == JobState.FAILED else None,
        result=job.result if state == JobState.SUCCEEDED else None,
        progress=progress,
        idempotency_key=None,
        process=None,
        devices=[],
    )


def add_chains(seed: Seed, templates: list[Template], count: int) -> None:
    for first in range(0, count, BATCH):
        numbers = range(first, min(count, first + BATCH))
        with transaction.atomic(), own_times(Job, Pipeline, Run, JobEvent, Edge):
            chains_of(seed, templates, numbers, count)
        print(f"\r{numbers.stop:,} of {count:,} chains", end="", flush=True)
    print()


def chains_of(seed: Seed, templates: list[Template], numbers: range, count: int) -> None:
    plan, jobs = [], []
    for number in numbers:
        template = templates[number % len(templates)]
        start = seed.now - timedelta(days=DAYS) * (1 - number / count) - timedelta(seconds=30)
        who, topic = seed.random.choice(seed.people), seed.random.choice(TOPICS)
        states = states_of(seed, newest=number >= count - OPEN_CHAINS)
        made = [
            job_like(seed, job, state, start + timedelta(seconds=n), who, f"{topic}: {job.kind}")
            for n, (job, state) in enumerate(zip(template.jobs, states, strict=True))
        ]
        plan.append((template, start, who, topic, made))
        jobs += made
    Job.objects.bulk_create(jobs, batch_size=BATCH)
    steps, links, runs = [], [], []
    for template, start, who, topic, made in plan:
        pipeline = again(
            template.pipeline, name=topic, requester=who, created_at=start, idempotency_key=None, rerun_of=None
        )
        pipeline.save(force_insert=True)
        steps += [PipelineStep(pipeline=pipeline, name=STEPS[n], position=n, job=job) for n, job in enumerate(made)]
        links += [JobParent(parent=a, child=b) for a, b in pairwise(made)]
        runs += [(template, old, job) for old, job in zip(template.jobs, made, strict=True) if old.pk in template.runs]
    PipelineStep.objects.bulk_create(steps, batch_size=BATCH)
    JobParent.objects.bulk_create(links, batch_size=BATCH)
    add_slots(plan)
    add_events(plan)
    add_runs(seed, runs)


def add_slots(plan: list[Any]) -> None:
    """What went in and came out, and the edges of it, as the demo's: the bytes are the same."""
    inputs, outputs, edges = [], [], []
    olds = {old.pk for template, *_ in plan for old in template.jobs}
    slots, made_of, known = defaultdict(list), defaultdict(list), defaultdict(list)
    for slot in JobInput.objects.filter(job__in=olds):
        slots[slot.job_id].append(slot)
    for slot in JobOutput.objects.filter(job__in=olds):
        made_of[slot.job_id].append(slot)
    for edge in Edge.objects.filter(target_type="job", target_id__in=[str(pk) for pk in olds]):
        known[edge.target_id].append(edge)
    for template, _start, _who, _topic, made in plan:
        new = {old.pk: job.pk for old, job in zip(template.jobs, made, strict=True)}
        for old, job in zip(template.jobs, made, strict=True):
            inputs += [again(s, job_id=job.pk, source_job_id=new.get(s.source_job_id)) for s in slots[old.pk]]
            if job.state == JobState.SUCCEEDED:
                outputs += [again(slot, job_id=job.pk) for slot in made_of[old.pk]]
                label = f"#{job.pk} {job.kind}"
                edges += [again(e, target_id=str(job.pk), target_label=label) for e in known[str(old.pk)]]
    JobInput.objects.bulk_create(inputs, batch_size=BATCH)
    JobOutput.objects.bulk_create(outputs, batch_size=BATCH)
    Edge.objects.bulk_create(edges, batch_size=BATCH, ignore_conflicts=True)


def add_events(plan: list[Any]) -> None:
    """The states and log lines of every fifth chain: a log that nobody opens need not be there twice."""
    events = []
    for template, start, _who, _topic, made in plan[::5]:
        for old, job in zip(template.jobs, made, strict=True):
            for seq, event in enumerate(template.events[old.pk], 1):
                events.append(again(event, job_id=job.pk, seq=seq, created_at=start))
    JobEvent.objects.bulk_create(events, batch_size=BATCH)


def add_runs(seed: Seed, plan: list[tuple[Template, Job, Job]]) -> None:
    runs, params, metrics = [], [], []
    for template, old, job in plan:
        if job.claimed_at is None:
            continue
        state = {"succeeded": "finished", "failed": "failed", "cancelled": "killed"}.get(job.state, "running")
        source = template.runs[old.pk]
        run = again(
            source,
            id=f"{seed.random.getrandbits(128):032x}",
            job_id=job.pk,
            name=job.name,
            state=state,
            started_at=job.claimed_at,
            ended_at=job.ended_at,
            created_by=job.requester,
            experiment=seed.random.choice(seed.experiments),
        )
        runs.append(run)
        params += [again(one, run_id=run.pk, value=varied(seed, one)) for one in template.params[source.pk]]
        shift = seed.random.uniform(0.8, 1.25)
        run.figures, moved = with_luck(source.figures, seed.random.uniform(-0.4, 0.4))
        for metric in template.metrics[source.pk]:
            by = moved.get(metric.key, shift if metric.key.endswith("_loss") and metric.count > 1 else 1.0)
            points = seed_telemetry.points_of(metric.key, template.points[metric.pk], by, job.claimed_at)
            of_run = {"run_id": run.pk, "experiment_id": run.experiment_id, "started_at": run.started_at}
            metrics.append((again(metric, **of_run), points))
    Run.objects.bulk_create(runs, batch_size=BATCH)
    RunParam.objects.bulk_create(params, batch_size=BATCH)
    seed_telemetry.write_metrics(runs, metrics)


def with_luck(figures: dict[str, Any], luck: float) -> tuple[dict[str, Any], dict[str, float]]:
    """The figures of another run of the same model, each moved with its interval by a share of its width, none beyond
    what it can be; and by which factor its metric is moved.
    """
    found, moved = [], {}
    for one in figures.get("metrics", []):
        low, high, value = one.get("low"), one.get("high"), one["value"]
        if low is not None and high is not None:
            by = luck * (high - low)
            if high <= 1:
                by = min(by, 1 - high)
            one = one | {"value": value + by, "low": low + by, "high": high + by}
            moved[f"test/{one['name']}"] = one["value"] / value if value else 1.0
        found.append(one)
    return figures | {"metrics": found}, moved


def varied(seed: Seed, param: RunParam) -> str:
    """What people try: other seeds, widths and rates."""
    choices = {
        "seed": [str(n) for n in range(10)],
        "schedule.max_lr": ["0.001", "0.0003", "0.003"],
        "dropout": ["0.0", "0.1", "0.3"],
        "hidden": ["[64, 64]", "[128, 128]", "[256, 256, 256]"],
    }
    return seed.random.choice(choices.get(param.key, [param.value]))


def add_single_jobs(seed: Seed, source: Job, count: int) -> None:
    """Cleanings by hand, outside any chain."""
    with own_times(Job):
        states = [JobState.SUCCEEDED] * 17 + [JobState.FAILED, JobState.CANCELLED, JobState.FAILED]
        Job.objects.bulk_create(
            (
                job_like(
                    seed,
                    source,
                    states[n % 20],
                    seed.now - timedelta(days=DAYS) * seed.random.random(),
                    seed.random.choice(seed.people),
                    f"{seed.random.choice(TOPICS)} by hand",
                )
                for n in range(count)
            ),
            batch_size=BATCH,
        )


# -- datasets, models, approvals, audit -----------------------------------------------------------------------------
def add_datasets(seed: Seed, count: int) -> None:
    sources = list(DatasetVersion.objects.order_by("pk"))
    names = [f"{TOPICS[n % len(TOPICS)]}-{'raw' if n % 2 else 'clean'}-{n:02d}" for n in range(DATASETS)]
    sets = [Dataset.objects.create(project=seed.project, name=n, created_by=seed.people[0]) for n in names]
    with own_times(DatasetVersion):
        for number in range(count):
            dataset, source = sets[number % DATASETS], sources[number % len(sources)]
            nth = number // DATASETS + 1
            at = seed.now - timedelta(days=DAYS) * (1 - number / count)
            version = again(source, dataset_id=dataset.pk, number=nth, created_at=at)
            version.digest, version.created_by = sha256_hex(f"{dataset.name} {nth}"), seed.random.choice(seed.people)
            version.rows = source.rows + 37 * nth
            version.save(force_insert=True)
            files = DatasetFile.objects.filter(version=source)
            DatasetFile.objects.bulk_create([again(one, version_id=version.pk) for one in files])
    for place, dataset in enumerate(sets):
        Dataset.objects.filter(pk=dataset.pk).update(versions_count=(count - place - 1) // DATASETS + 1)


def add_models(seed: Seed, count: int) -> list[ModelVersion]:
    sources = [(one, list(Variant.objects.filter(version=one).order_by("pk"))) for one in ModelVersion.objects.all()]
    names = [f"{TOPICS[n % len(TOPICS)]}-{n:02d}" for n in range(MODELS)]
    kinds = [Model.objects.create(project=seed.project, name=n, created_by=seed.people[0]) for n in names]
    made = []
    with own_times(ModelVersion):
        for number in range(count):
            model, (source, variants) = kinds[number % MODELS], sources[number % len(sources)]
            document = json.loads(source.document) | {"note": f"trial {number}"}
            version = again(source, model_id=model.pk, number=number // MODELS + 1, note=f"trial {number}")
            version.document = json.dumps(document, sort_keys=True, separators=(",", ":"))
            version.digest = sha256_hex(version.document)
            version.created_at = seed.now - timedelta(days=DAYS) * (1 - number / count)
            version.save(force_insert=True)
            parents: dict[int, int] = {}
            for variant in variants:
                new = again(variant, version_id=version.pk, parent_id=parents.get(variant.parent_id or 0))
                new.save(force_insert=True)
                parents[variant.pk] = new.pk
            made.append(version)
    for place, model in enumerate(kinds):
        Model.objects.filter(pk=model.pk).update(versions_count=(count - place - 1) // MODELS + 1)
    return made


def add_approvals(seed: Seed, versions: list[ModelVersion], count: int) -> None:
    source = Approval.objects.order_by("pk").first()
    states = [ApprovalState.APPROVED] * 6 + [ApprovalState.REJECTED, ApprovalState.EXPIRED, ApprovalState.WITHDRAWN]
    with own_times(Approval):
        for number in range(count):
            version = versions[number % len(versions)]
            waits = number < 4
            at = seed.now - timedelta(hours=5 * (number + 1))
            approval = again(
                source,
                subject_id=str(version.pk) if waits else f"{version.pk}.{number}",
                title=f"{version} to production",
                state=ApprovalState.PENDING if waits else states[number % len(states)],
                requester=seed.random.choice(seed.people),
                created_at=at,
                decided_at=None if waits else at + timedelta(hours=2),
                deadline_at=at + timedelta(days=3) if waits else at + timedelta(days=1),
            )
            approval.save(force_insert=True)


def add_records(seed: Seed, count: int) -> None:
    """Audit records, sealed like any other."""
    jobs = list(Job.objects.order_by("-pk")[:2000])
    for first in range(0, count, BATCH):
        with transaction.atomic():
            for number in range(first, min(count, first + BATCH)):
                node = seed.nodes[number % len(seed.nodes)]
                actor = build_plane_actor(PlaneRole.WORKER, host=node.name)
                record(actor=actor, action="job.running", obj=jobs[number % len(jobs)], after={"attempt": 1})
        seal_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=1, help="as many times the rows; 10 for what growth costs")
    asked = parser.parse_args()
    project = Project.objects.filter(slug="demo").first()
    chains = list(Pipeline.objects.order_by("pk")[:2])
    if project is None or len(chains) < 2 or Project.objects.count() != 1 or Job.objects.count() > 100:
        raise SystemExit(
            "This plane is not the demo's alone, or is seeded already. Run `make demo` in a new PLANE_HOME."
        )
    seed = Seed(project, timezone.now(), asked.times)
    templates = [Template.of(one) for one in chains]
    add_people(seed)
    add_nodes(seed)
    default = Experiment.objects.get(project=project, number=0)
    numbered = enumerate(TOPICS, Experiment.objects.filter(project=project).count())
    seed.experiments = [default, *(Experiment.objects.create(project=project, number=n, name=t) for n, t in numbered)]
    last = Job.objects.latest("pk").pk, Pipeline.objects.latest("pk").pk
    add_single_jobs(seed, templates[0].jobs[0], SINGLE_JOBS)
    add_chains(seed, templates, CHAINS)
    seed_times.multiply(*last, asked.times)
    add_rest(seed)
    seed_times.settle()


def add_rest(seed: Seed) -> None:
    """What is not of jobs: few enough to be made one by one."""
    times = seed.times
    add_datasets(seed, DATASET_VERSIONS * times)
    add_approvals(seed, add_models(seed, MODEL_VERSIONS * times), APPROVALS * times)
    seed_telemetry.add_samples(seed.nodes, seed.now, seed.random)
    seed_telemetry.tally_all()
    add_records(seed, SEALED * times)
    seed_beside.add_all(seed.project, times, seed.now)
    counted = (Job, Run, Metric, MetricPoint, Pipeline, DatasetVersion, ModelVersion, Approval, Edge, JobEvent)
    for kind in (*counted, MetricBucket, NodeSample, QueueSample):
        print(f"{kind.__name__:16} {kind.objects.count():>12,}")


if __name__ == "__main__":
    main()
