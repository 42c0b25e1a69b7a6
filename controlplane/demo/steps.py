"""The steps of the main job over REST, as an engineer and an approver take them: import, pipeline, promotion.

Every step finds again what an earlier run of the demo made, so that a second run goes on and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from controlplane.rest_client import PlaneClient

TEMPLATE = "clean-train-quantize-compile-register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One table, the model made of it, and what is asked for on the way."""

    dataset: str
    cleaned: str
    model: str
    params: Mapping[str, Any]
    seconds: float  # the longest that its pipeline may take
    golden: str  # the set that its versions are measured on
    slices: Sequence[Mapping[str, Any]]
    margin: float  # how much worse than production a version may be, in the unit of the set's metric


FORECASTER = Story(
    dataset="wti",
    cleaned="wti-clean",
    model="wti-forecaster",
    params={
        "clean": {"window_size": 5, "outliers": {"method": "robust_z", "action": "flag"}},
        "train": {"task": "forecast", "target": "DCOILWTICO", "lags": 20},
    },
    seconds=900,
    golden="wti-golden",
    slices=({"column": "Date", "bins": 4}, {"column": "DCOILWTICO__outlier"}),
    margin=0.05,
)
CLASSIFIER = Story(
    dataset="breast-cancer",
    cleaned="breast-cancer-clean",
    model="breast-cancer-classifier",
    params={
        "clean": {},
        "train": {"task": "classification", "target": "diagnosis", "hidden": [512, 512, 512], "dropout": 0.2},
    },
    seconds=900,
    golden="breast-cancer-golden",
    slices=({"column": "mean_area", "bins": 3},),
    margin=0.02,
)


class JobFailed(Exception):
    """A pipeline or a job that did not succeed, with what stopped it."""


class DemoSteps:
    """The engineer's and the approver's steps, with a token each: nobody approves their own request."""

    def __init__(self, engineer: PlaneClient, approver: PlaneClient, console: Console) -> None:
        self.engineer, self.approver, self.console = engineer, approver, console

    def import_table(self, story: Story, table: bytes) -> dict[str, Any]:
        """The version that these bytes are; the same bytes again are the same version."""
        dataset: dict[str, Any] = self.engineer.call(
            "POST", f"/datasets/{story.dataset}/versions", table, headers={"Content-Type": "text/csv"}
        )
        return dataset

    def queue(self, story: Story, number: int) -> dict[str, Any]:
        """The pipeline over this version of the table, queued or found again; what had stopped it is tried again."""
        body = {
            "template": TEMPLATE,
            "dataset": story.dataset,
            "version": number,
            "cleaned": story.cleaned,
            "model": story.model,
            "params": story.params,
        }
        key = f"demo-{story.model}-v{number}"
        pipeline: dict[str, Any] = self.engineer.post("/pipelines", body, Idempotency_Key=key)
        for step in reversed(pipeline["steps"]):  # what an earlier run left behind; a parent's retry moves its children
            if step["state"] in ("failed", "cancelled"):
                self.engineer.post(f"/jobs/{step['job']}/retry", {"reason": "The demo was started again"})
        return pipeline

    def finish(self, story: Story, queued: Mapping[str, Any]) -> dict[str, Any]:
        """Wait for the end of the pipeline with a bar for each job."""
        if queued["state"] == "succeeded":
            self.console.print(f"Pipeline {queued['id']} has done this before: nothing is done twice.")
            return dict(queued)
        pipeline = self.follow(queued["id"], story.seconds)
        if pipeline["state"] != "succeeded":
            raise JobFailed(self.explain_failure(pipeline))
        return pipeline

    def follow(self, pipeline: int, seconds: float) -> dict[str, Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        bars: dict[str, TaskID] = {}
        with Progress(*columns, console=self.console) as progress:

            def watch(state: Mapping[str, Any]) -> None:
                for step in state["steps"]:
                    name = step["name"]
                    if name not in bars:
                        bars[name] = progress.add_task(name, total=None, start=False)
                    draw(progress, bars[name], step)

            return self.engineer.wait_for(f"/pipelines/{pipeline}", seconds=seconds, watch=watch)

    def explain_failure(self, pipeline: Mapping[str, Any]) -> str:
        stopped = next(step for step in pipeline["steps"] if step["state"] in ("failed", "cancelled"))
        error = self.engineer.get(f"/jobs/{stopped['job']}")["error"] or {}
        return f"pipeline {pipeline['id']}, step {stopped['name']}, job {stopped['job']}: {error.get('message')}"

    # -- to production --------------------------------------------------------------------------------------------
    def promote(self, story: Story, pipeline: Mapping[str, Any]) -> dict[str, Any]:
        """Ask as the engineer, approve as the approver; returns the version in production. Done before: it says so."""
        version = find_version(self.engineer, story, pipeline)
        if "production" in version["aliases"]:
            self.console.print(f"{story.model} v{version['number']} is in production: nothing is done twice.")
            return self.find_production(story)
        path = f"/models/{story.model}/versions/{version['number']}/promote"
        waiting = self.approver.get("/approvals", mine=1)["items"]
        subject = "promotion", str(version["id"])
        approval_request = next((row for row in waiting if (row["subject_type"], row["subject_id"]) == subject), None)
        approval_request = approval_request or self.engineer.post(
            path, {"comment": "The demo's main job: cleaned, trained, measured."}
        )
        approval = self.approver.get(f"/approvals/{approval_request['id']}")
        self.approver.post(
            f"/approvals/{approval['id']}/approve",
            {"facts_digest": approval["facts_digest"], "reason": "The figures hold on the held-out rows."},
        )
        return self.find_production(story)

    def find_production(self, story: Story) -> dict[str, Any]:
        answer: dict[str, Any] = self.engineer.get(f"/models/{story.model}/aliases/production")
        return answer


def find_version(engineer: PlaneClient, story: Story, pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """The version that the pipeline registered; later ones are of other pipelines."""
    job = next(step["job"] for step in pipeline["steps"] if step["name"] == "register")
    versions: list[dict[str, Any]] = engineer.get(f"/models/{story.model}/versions")["items"]
    return next(version for version in versions if version["job"] == job)


def draw(drawn: Progress, bar: TaskID, step: Mapping[str, Any]) -> None:
    """One job's bar: started when it runs, full when it has succeeded."""
    progress = step.get("progress") or {}
    stage = progress.get("stage") if step["state"] == "running" else ""
    drawn.update(bar, description=f"{step['name']:<9} {stage or step['state']}")
    if step["state"] == "running" and not drawn.tasks[drawn.task_ids.index(bar)].started:
        drawn.start_task(bar)
    if step["state"] == "succeeded":
        drawn.start_task(bar)
        drawn.update(bar, total=1, completed=1)
        drawn.stop_task(bar)
    elif progress.get("total"):
        drawn.update(bar, total=progress["total"], completed=progress.get("done") or 0)


def get_seconds(step: Mapping[str, Any]) -> float:
    """From the claim of its job, the last attempt's, to its end."""
    began, ended = (datetime.fromisoformat(step[name]) for name in ("claimed_at", "ended_at"))
    return round((ended - began).total_seconds(), 2)
