"""The golden set of a story: the rows that its training held out, every form measured on them, and a gate before
production. As in steps.py, each step finds again what an earlier run of the demo made.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from controlplane.demo.steps import JobFailed, Story, find_version
from controlplane.rest_client import ApiError, PlaneClient

EVALUATION_SECONDS = 300.0
CONFIDENCE = 0.95


class GoldenSetSteps:
    """The engineer names the set and measures, the approver sets the gate: a requester cannot lower it."""

    def __init__(self, engineer: PlaneClient, approver: PlaneClient, console: Console) -> None:
        self.engineer, self.approver, self.console = engineer, approver, console

    def guard(self, story: Story, pipeline: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The evaluations of every form of the pipeline's version, in the order of its forms; the gate stands then."""
        number = find_version(self.engineer, story, pipeline)["number"]
        version = self.engineer.get(f"/models/{story.model}/versions/{number}")
        on = self.name_set(story, version)
        measured = self.measure(version, on["ref"])
        self.set_gate(story, on)
        return measured

    def name_set(self, story: Story, version: dict[str, Any]) -> dict[str, Any]:
        """The set, or the one that an earlier run named."""
        try:
            found: dict[str, Any] = self.engineer.get(f"/evaluation-sets/{story.golden}")
        except ApiError as answer:
            if answer.status != 404:
                raise
        else:
            self.console.print(f"The golden set {found['ref']} is there: nothing is done twice.")
            return found
        data, first_row = self.upload_heldout(story, version)
        body = {
            "name": story.golden,
            "dataset": data["dataset"],
            "version": str(data["number"]),
            "task": version["task"],
            "target": version["target"],
            "spec": {"slices": [dict(row) for row in story.slices], "first_row": first_row},
            "description": f"The rows that the training of {story.model} v{version['number']} held out.",
        }
        created: dict[str, Any] = self.engineer.post("/evaluation-sets", body)
        rows = version["variants"][0]["figures"]["rows"]
        self.console.print(
            f"Golden set {created['ref']}: {rows:,} held-out rows of {data['dataset']} v{data['number']}"
        )
        return created

    def upload_heldout(self, story: Story, version: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The dataset version whose table has the rows that no training saw, and the first of them.

        A series held out its end, so its own table serves. Rows drawn by chance become a dataset of their own.
        """
        if version["task"] == "forecast":
            cleaned = self.engineer.get(f"/datasets/{story.cleaned}/versions")["items"][0]
            return cleaned, cleaned["rows"] - version["variants"][0]["figures"]["rows"]
        content = self.engineer.fetch(f"/artifacts/{version['variants'][0]['heldout']}")
        headers = {"Content-Type": "text/csv"}
        path = f"/datasets/{story.golden}/versions"
        return self.engineer.call("POST", path, build_heldout_csv(content, version), headers=headers), 0

    def measure(self, version: dict[str, Any], ref: str) -> list[dict[str, Any]]:
        """Queue the forms that were not measured yet, and wait for them all."""
        path = f"/models/{version['model']}/versions/{version['number']}/evaluations"
        names = [variant["name"] for variant in version["variants"]]
        variants = {row["variant"] for row in self.engineer.get(path)["items"] if row["set"] == ref}
        missing = [name for name in names if name not in variants]
        jobs = [(name, self.engineer.post(path, {"set": ref, "variant": name})["id"]) for name in missing]
        for name, job in jobs:
            ended = self.engineer.wait(job, seconds=EVALUATION_SECONDS)
            if ended["state"] != "succeeded":
                raise JobFailed(f"job {job}, evaluate {name}: {(ended['error'] or {}).get('message')}")
        evaluations = {row["variant"]: row for row in reversed(self.engineer.get(path)["items"]) if row["set"] == ref}
        return [evaluations[name] for name in names]

    def set_gate(self, story: Story, on: dict[str, Any]) -> None:
        path, metric = f"/models/{story.model}/gates", on["primary_metric"]
        if any((row["set"], row["metric"]) == (on["ref"], metric) for row in self.approver.get(path)):
            return
        body = {"set": on["ref"], "metric": metric, "margin": story.margin, "confidence": CONFIDENCE}
        self.approver.post(path, body)

    def gates(self, version: dict[str, Any]) -> dict[str, Any]:
        """What the gates say of a version now, and what they said when its promotion was asked for."""
        answer: dict[str, Any] = self.engineer.get(f"/models/{version['model']}/versions/{version['number']}/gates")
        return answer


def build_heldout_csv(content: bytes, version: dict[str, Any]) -> bytes:
    """`heldout.safetensors` of a classification as a table: a column for each feature, and the target by its name."""
    import safetensors.numpy

    tensors = safetensors.numpy.load(content)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*version["features"], version["target"]])
    for row, target in zip(tensors["features"].tolist(), tensors["target"].tolist(), strict=True):
        writer.writerow([*row, version["classes"][target]])
    return text.getvalue().encode()
