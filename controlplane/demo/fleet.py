"""Forty simulated devices by the real agent's code, and two more versions of a model for them: good and broken."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from controlplane.demo.steps import JobFailed, Story, find_version
from controlplane.env import BASE_DIR
from controlplane.rest_client import PlaneClient

DEVICES = 40
NAME = "demo-device"
POLL_SECONDS, TRAFFIC_SECONDS = 1, 2
TRAINING_SECONDS = 600.0
FLEET_SECONDS = 300.0
VARIANT = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One more version of a story's model, trained in another way."""

    name: str
    note: str
    changes: Mapping[str, Any]
    is_shuffled: bool = False  # trained on the table with its rows in no order


GOOD = Retraining(name="good", note="Trained again, with other first weights.", changes={"seed": 7})
BROKEN = Retraining(
    name="broken",
    note="Broken on purpose: the rows of its series were shuffled.",
    changes={"seed": 7, "epochs": 10},
    is_shuffled=True,
)


class FleetSteps:
    """The engineer trains the versions, enrols the devices and gives them what is in production."""

    def __init__(
        self, engineer: PlaneClient, console: Console, home: Path, name: str = NAME, count: int = DEVICES
    ) -> None:
        self.engineer, self.console, self.home = engineer, console, home
        self.name, self.count = name, count
        self.folder = home / f"{name}s"
        self.process: subprocess.Popen[bytes] | None = None

    # -- versions ---------------------------------------------------------------------------------------------------
    def queue(self, story: Story, retraining: Retraining, table: bytes) -> int:
        """The pipeline that trains and registers the version; that of an earlier run is found again.

        `table`: the source of the story, as CSV.
        """
        if retraining.is_shuffled:
            path, headers = f"/datasets/{story.dataset}-shuffled/versions", {"Content-Type": "text/csv"}
            data = self.engineer.call("POST", path, shuffle_rows(table), headers=headers)
        else:
            newest = self.engineer.get(f"/datasets/{story.cleaned}/versions")["items"][0]["number"]
            data = self.engineer.get(f"/datasets/{story.cleaned}/versions/{newest}")
        digest = next(file["digest"] for file in data["files"])
        forms = {
            slot: {"step": "train", "slot": source}
            for slot, source in (("fp32", "model"), ("fp32_manifest", "manifest"), ("fp32_figures", "figures"))
        }
        spec = {**story.params["train"], **retraining.changes}
        steps = [
            {"name": "train", "kind": "train", "spec": spec, "inputs": {"table": {"digest": digest}}},
            {"name": "register", "kind": "register", "spec": {"note": retraining.note}, "inputs": forms}
            | {"register": {"model": story.model}},
        ]
        body = {"name": f"{story.model}, {retraining.name}", "steps": steps}
        key = f"demo-{story.model}-{retraining.name}-{digest[:8]}"
        return int(self.engineer.post("/pipelines", body, Idempotency_Key=key)["id"])

    def wait_for_version(self, story: Story, pipeline: int) -> int:
        """The number of the version that the pipeline has registered."""
        ended = self.engineer.wait_for(f"/pipelines/{pipeline}", seconds=TRAINING_SECONDS)
        if ended["state"] != "succeeded":
            raise JobFailed(f"pipeline {pipeline} is {ended['state']}")
        return int(find_version(self.engineer, story, ended)["number"])

    # -- devices ----------------------------------------------------------------------------------------------------
    @contextmanager
    def run_devices(self, address: str, version: Mapping[str, Any]) -> Iterator[None]:
        """The devices, as one process of `deepseek agent --simulate`; it ends with the block."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        traffic = self.folder.with_suffix(".jsonl")
        traffic.write_text(build_traffic(self.engineer.fetch(f"/artifacts/{version['variants'][0]['heldout']}")))
        words = ["--plane", address, "--home", str(self.folder), "--name", self.name, "--simulate", str(self.count)]
        busy = max(1, self.count // DEVICES)  # one process is all of them: more devices ask and answer less often
        words += ["--poll", str(busy * POLL_SECONDS), "--watch", "0", "--enrol", self.create_enrolment_token()]
        words += ["--traffic", str(traffic), "--traffic-seconds", str(busy * TRAFFIC_SECONDS)]
        with (self.home / "logs" / f"{self.name}s.log").open("ab") as log:
            self.process = process = subprocess.Popen(
                [sys.executable, "-m", "deepseek.cli", "agent", *words], cwd=BASE_DIR, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)

    def create_enrolment_token(self) -> str:
        body = {"name": "Simulated devices of the demo", "gateway": True, "max_uses": self.count, "days": 1}
        return str(self.engineer.post("/enrolment-tokens", body)["token"])

    def wait_for_devices(self) -> list[dict[str, Any]]:
        """The devices once all have enrolled; they are to send every prediction."""
        devices = self.wait_until(lambda devices: len(devices) >= self.count, "enrolled")
        for device in devices:
            if device["sampling_rate"] != 1:
                self.engineer.call("PATCH", f"/devices/{device['id']}", {"sampling_rate": 1})
        return devices

    def install(self, story: Story, number: int, devices: list[dict[str, Any]]) -> None:
        """Give each device the version, and wait for its receipt."""
        body = {"model": story.model, "version": number, "variant": VARIANT, "without_samples": True}
        release = self.engineer.post("/releases", body)["id"]
        for device in devices:
            if device["running"] is None:
                self.engineer.post(f"/devices/{device['id']}/assignments", {"release": release})
        self.wait_until(lambda devices: all(device["running"] for device in devices), "running")

    def list_devices(self) -> list[dict[str, Any]]:
        devices: list[dict[str, Any]] = []
        filters: dict[str, Any] = {"name": self.name, "limit": 100}
        while True:
            page = self.engineer.get("/devices", **filters)
            devices += page["items"]
            if not page["next"]:
                return devices
            filters["cursor"] = page["next"]

    def wait_until(self, condition: Any, what: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + FLEET_SECONDS
        while True:
            devices = self.list_devices()
            if condition(devices):
                return devices
            if self.process is not None and self.process.poll() is not None:
                raise JobFailed(f"The simulated devices ended with status {self.process.returncode}: {self.name}s.log")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Of {self.count} simulated devices some are not {what} after {FLEET_SECONDS:g} s")
            time.sleep(0.5)


def shuffle_rows(table: bytes) -> bytes:
    """The complete rows of a CSV file, in no order: a series that was joined without its index."""
    heading, *rows = table.decode().splitlines()
    rows = [row for row in rows if "" not in row.split(",")]
    random.Random(0).shuffle(rows)  # noqa: S311  the same order each time
    return "\n".join([heading, *rows, ""]).encode()


def build_traffic(content: bytes) -> str:
    """`heldout.safetensors` of a regression as rows that devices answer: JSON lines with features and label."""
    import safetensors.numpy

    tensors = safetensors.numpy.load(content)
    pairs = zip(tensors["features"].tolist(), tensors["target"].tolist(), strict=True)
    return "".join(json.dumps({"features": row, "label": label}) + "\n" for row, label in pairs)
