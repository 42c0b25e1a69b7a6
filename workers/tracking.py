"""The run of a tracked job: begun with the attempt, fed with its metrics, closed with the job in one transaction."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from apps.core.actors import Actor
from apps.ml.experiments import services
from apps.ml.experiments.metrics.series import KEY_LIMIT, STEP_LIMIT, Point
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import ENDINGS, Facts, get_end_reason
from apps.ml.reruns.services import link_rerun, reopen_rerun
from apps.ml.sweeps.services import adopt_trial_run, is_trial
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import report_events
from apps.platform.jobs.states import JobState
from deepseek.code import compute_code_digest
from deepseek.models.figures import Figures
from workers.images.store import describe_image
from workers.outputs import StoredOutput
from workers.registration import RUN_OUTPUTS, Outputs

PACKAGES = ("deepseek-offline", "numpy", "pandas", "pyarrow", "safetensors", "torch", "apache-tvm", "scikit-learn")
FIGURES_SLOT, FIGURES_LIMIT = "figures", 4 << 20


class Tracker:
    """One attempt's hold on the run of its job; of one that has no run, every call does nothing."""

    def __init__(self, actor: Actor, job: Job) -> None:
        self.actor, self.job = actor, job
        self.run: Run | None = None
        self.figures: dict[str, Any] = {}

    def open_run(self) -> None:
        """Start the run, or go on with the one of an earlier attempt. StaleState if the job is no longer ours."""
        kind = KINDS.get(self.job.kind)
        if kind is None or not (kind.tracked or (kind.tunable and is_trial(self.job))):
            return
        with transaction.atomic():
            report_events(actor=self.actor, job=self.job, events=())  # locks the job: nobody else claims it meanwhile
            inputs = self.job.inputs.exclude(artifact=None).values_list("slot", "artifact_id")
            spec = json.loads(self.job.spec)
            facts = Facts(
                # A script logs params of its own; those of its job must not be in their way.
                params=flatten_spec(spec, "job" if kind.user_code else ""),
                environment=describe_environment(self.job),
                code_digest=compute_code_digest(),
                inputs=dict(inputs.order_by("slot")),
            )
            self.run = services.start_run(
                actor=self.actor, job=self.job, facts=facts, experiment=str(self.job.register.get("experiment", ""))
            )
            if kind.tunable:
                adopt_trial_run(actor=self.actor, job=self.job, run=self.run)
            reopen_rerun(actor=self.actor, job=self.job)  # also at first: it may have been cancelled before any claim

    def build_client_variables(self) -> dict[str, str]:
        """What a stock MLflow client needs to log to this run: a token for it alone, which ends with the attempt."""
        if self.run is None:
            return {}
        token = services.create_run_token(actor=self.actor, run=self.run)
        return {"MLFLOW_RUN_ID": self.run.pk, "MLFLOW_TRACKING_TOKEN": token}

    def log(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Take metrics as the relay has them; how many were left out. Call it where it has made sure of the job."""
        if self.run is None or not events:
            return 0
        points = [point for raw in events if (point := parse_point(raw))]
        return services.log_metrics(actor=self.actor, run=self.run, points=points) + len(events) - len(points)

    def read(self, stored: Sequence[StoredOutput]) -> None:
        """The figures among the outputs, before the transaction that ends the job, which reads no bytes."""
        figures_output = next((m for m in stored if m.slot == FIGURES_SLOT and m.size <= FIGURES_LIMIT), None)
        if self.run is not None and figures_output is not None:
            self.figures = parse_figures(b"".join(get_store().open(figures_output.digest)))

    def close(self, job: Job | None, outputs: Outputs = ()) -> None:
        """End the run if `job`, as it was just written, has ended; one that is queued again leaves it open."""
        if self.run is None or job is None or not job.ended:
            return
        run = copy.copy(self.run)  # a try that is rolled back must leave no trace
        if points := list(iter_measured_points(self.figures)):
            services.log_metrics(actor=self.actor, run=run, points=points)
        services.finish_run(
            actor=self.actor,
            run=run,
            state=ENDINGS[JobState(job.state)],
            reason="" if job.state == JobState.SUCCEEDED else get_end_reason(job),
            artifacts=[
                (name_run_file(job, slot, name), artifact, media_type)
                for slot, artifact, name, media_type, _ in outputs
            ],
            figures=self.figures,
        )
        if job.state == JobState.SUCCEEDED:
            link_rerun(actor=self.actor, job=job, run=run)


def name_run_file(job: Job, slot: str, name: str) -> str:
    """The path of an output among the files of the run. A script's slots are paths already, and it logs files too;
    of other kinds those with a folder are, as plots/roc.svg."""
    if KINDS[job.kind].user_code:
        return f"{RUN_OUTPUTS}/{slot}"
    return slot if "/" in slot else f"{slot}/{name}"


# -- what is told ---------------------------------------------------------------------------------------------------
def parse_point(raw: Mapping[str, Any]) -> Point | None:
    """A metric event as a point. None for what is no number at a whole step: the pipe is not trusted."""
    name, step = raw.get("name"), raw.get("step")
    try:
        value = float(raw.get("value"))  # type: ignore[arg-type]  # "NaN" and "Infinity" come as words
    except (TypeError, ValueError):
        return None
    if not isinstance(name, str) or not name or not isinstance(step, int) or abs(step) > STEP_LIMIT:
        return None
    return Point(name[:KEY_LIMIT], value, step, parse_time(raw.get("at")))


def parse_time(at: Any) -> datetime:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def parse_figures(data: bytes) -> dict[str, Any]:
    """The figures of a model; empty for anything else, also for what PostgreSQL would refuse to keep."""
    if b"\\u0000" in data:
        return {}
    try:
        return Figures.model_validate_json(data).model_dump(mode="json", by_alias=True)
    except ValidationError:
        return {}


def iter_measured_points(figures: Mapping[str, Any]) -> Iterator[Point]:
    """What was measured on held-out rows as metrics at step 0: test/<name>, baseline/<name>, size_bytes."""
    baseline = figures.get("baseline") or {}
    values = [(f"test/{metric['name']}", metric["value"]) for metric in figures.get("metrics", [])]
    values += [(f"baseline/{metric['name']}", metric["value"]) for metric in baseline.get("metrics", [])]
    values += [("size_bytes", figures["size_bytes"])] if figures else []
    for name, value in values:
        if point := parse_point({"name": name, "value": value, "step": 0}):
            yield point


# -- what is known at the start -------------------------------------------------------------------------------------
def flatten_spec(value: Any, path: str = "") -> dict[str, str]:
    """A spec as params: {"schedule.max_lr": "0.001"}. Text stays as it is, everything else is written as JSON."""
    if isinstance(value, dict) and (value or not path):
        return {
            key: text
            for name in value
            for key, text in flatten_spec(value[name], f"{path}.{name}" if path else name).items()
        }
    return {path: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def describe_environment(job: Job) -> dict[str, Any]:
    """What the attempt runs on: versions, the node, its processor and GPUs, the threads that the engine may use.

    Of a script in an image, its name and digest; the versions are those of the engine, which stays outside.
    """
    node = job.node
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: text for name in PACKAGES if (text := find_version(name))},
        "threads": max(1, int(job.need_cpus)),
        **describe_image(job),
    }
    if node is None:
        return facts
    return facts | {
        "node": node.name,
        "host": node.host,
        "processor": node.hardware.get("processor", ""),
        "cpus": node.cpus,
        "memory_bytes": node.memory_bytes,
        "gpus": [gpu for gpu in node.gpus if gpu.get("index") in job.devices],
    }


@cache
def find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
