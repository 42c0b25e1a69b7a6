"""The model of the demo for a device of aarch64: compiled by a job, run under emulation, packed into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from rich.console import Console

from controlplane.demo.steps import JobFailed, Story
from controlplane.rest_client import PlaneClient
from deepseek.compile.runtime import LIBRARIES, list_wheels

TARGET, ARCH = "llvm -mtriple=aarch64-linux-gnu", "aarch64"
TOOLS = ("qemu-aarch64", "aarch64-linux-gnu-g++")
SECONDS = 600.0
SPEC = {"target": TARGET, "trials": 0}


def list_missing_tools() -> list[str]:
    """What of emulator, cross compiler and runtime is not on this machine."""
    tools = [name for name in TOOLS if shutil.which(name) is None]
    wheels = [name for name, _ in LIBRARIES.values() if not list_wheels(name, ARCH, version(name))]
    return tools + [f"{name} for {ARCH}" for name in wheels]


class EdgeSteps:
    """The engineer's step; a second run of the demo finds the job of the first."""

    def __init__(self, engineer: PlaneClient, console: Console) -> None:
        self.engineer, self.console = engineer, console

    def queue(self, story: Story, pipeline: Mapping[str, Any]) -> int | None:
        """The job that compiles the model that the pipeline trained; None, and why, where it cannot."""
        missing = list_missing_tools()
        if missing:
            self.console.print(f"Not compiled for {ARCH}: this machine lacks {', '.join(missing)} (docs/edge.md).")
            return None
        trained = next(step["job"] for step in pipeline["steps"] if step["name"] == "train")
        body = {
            "kind": "compile",
            "name": f"{story.model} for {ARCH}",
            "spec": SPEC,
            "inputs": {slot: {"job": trained, "slot": slot} for slot in ("model", "manifest", "heldout")},
        }
        job = self.engineer.post("/jobs", body, Idempotency_Key=f"demo-edge-{story.model}-{pipeline['id']}")
        return int(job["id"])

    def wait(self, number: int) -> dict[str, Any]:
        """Wait for the job, and say where its code ran."""
        job = self.engineer.wait_for(f"/jobs/{number}", seconds=SECONDS)
        if job["state"] != "succeeded":
            raise JobFailed(f"job {number}: {(job['error'] or {}).get('message')}")
        result = job["result"]
        self.console.print(
            f"{result['variant']}: {result['ran']}, at most {result['largest_difference']:.1e} from PyTorch, not tuned"
        )
        return {"job": job["id"], "ran": result["ran"], "largest_difference": result["largest_difference"]}
