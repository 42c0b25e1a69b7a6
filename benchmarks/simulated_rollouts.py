"""Three rollouts to 200 simulated devices: a good version, a broken one, and one that nobody can decide on.

    python benchmarks/simulated_rollouts.py [--devices 200] [--home DIR]

The devices are the real agent (`deepseek agent --simulate`), the plane is one that `manage.py demo` has made in a new
home, with its models, people and approvals; `--home` names one that is there and is kept. Printed: how long enrolment,
first install and each rollout took, and what the gates saw. Exit status 1 if a rollout ended in another way than it has
to: the good one completed, the broken one rolled back in its first wave, the third one on hold.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
NAME = "bench-device"
TINY_MARGIN = 1e-4  # dollars a barrel: far below what the devices' errors scatter by
DEMO_SECONDS = 1200.0


@contextmanager
def run_demo(home: Path) -> Iterator[str]:
    """The address of the plane that the demo leaves running."""
    home.mkdir(parents=True, exist_ok=True)
    facts = home / "demo.json"
    facts.unlink(missing_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "DEMO_EXIT"}
    with (home / "demo.log").open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "manage.py", "demo"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + DEMO_SECONDS
        while not facts.exists():
            if demo.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The demo did not come to its end: {home / 'demo.log'}")
            time.sleep(0.5)
        yield str(json.loads(facts.read_text())["address"])
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(timeout=60)


def run(home: Path, devices: int) -> bool:
    """Whether each rollout ended as it has to."""
    import django

    django.setup()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request
    from rich.console import Console

    from controlplane.demo.fleet import FleetSteps
    from controlplane.demo.rollouts import GATES, MARGIN, PLAN, RolloutSteps, build_lines
    from controlplane.demo.steps import FORECASTER
    from controlplane.management.commands.demo import APPROVER, ENGINEER, PROJECT, Command
    from controlplane.rest_client import PlaneClient

    console = Console(highlight=False, width=160)
    gate = {**GATES[0], "tests": ["non_inferiority"], "margin": TINY_MARGIN, "tolerance": 0}
    undecidable = {**PLAN["canary"], "gates": [gate, GATES[1]]}
    plan: dict[str, Any] = {**PLAN, "query": f"name LIKE '{NAME}%'"}
    with ExitStack() as stack:
        address = stack.enter_context(run_demo(home))
        seconds = json.loads((home / "demo.json").read_text())["seconds"]
        console.print(f"the demo: {sum(seconds.values()):.0f} s, its rollouts {read_rollouts(seconds):.0f} s of them")
        command = Command()
        tokens = [
            stack.enter_context(command.token(*each)) for each in (("engineer", ENGINEER), ("approver", APPROVER))
        ]
        planes = [PlaneClient(address, secret, PROJECT, patience=10) for secret in tokens]
        steps = RolloutSteps(*planes, console)
        fleet = FleetSteps(planes[0], console, home, NAME, devices)
        production = planes[0].get(f"/models/{FORECASTER.model}/aliases/production")
        good, broken = (row["version"] for row in json.loads((home / "demo.json").read_text())["rollouts"][:2])
        began = time.monotonic()
        stack.enter_context(fleet.run_devices(address, production))
        rows = fleet.wait_for_devices()
        console.print(f"{devices} devices enrolled after {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        fleet.install(FORECASTER, production["number"], rows)
        console.print(f"each runs v{production['number']} by its own receipt after {time.monotonic() - began:.1f} s")
        holds = []
        for title, number, canary, margin, end in (
            ("undecidable", good, undecidable, TINY_MARGIN, "held"),
            ("good", good, PLAN["canary"], MARGIN, "completed"),
            ("broken", broken, PLAN["canary"], MARGIN, "rolled_back"),
        ):
            began = time.monotonic()
            ends = ("held", "completed", "rolled_back", "aborted")
            rollout = steps.run(FORECASTER, number, f"The {title} version", {**plan, "canary": canary}, ends)
            console.print(f"{title}: {rollout['state']} after {time.monotonic() - began:.1f} s (has to be {end})")
            for line in build_lines(rollout, steps.list_evidence(rollout), devices, margin):
                console.print(f"  {line}")
            holds.append(rollout["state"] == end)
            if rollout["state"] == "held":
                planes[0].post(f"/rollouts/{rollout['id']}/roll-back", {"reason": "Nobody can decide on it."})
                wait_for_end(planes[0], rollout["id"])
    return all(holds)


def read_rollouts(seconds: dict[str, float]) -> float:
    """The seconds of the demo from its devices on."""
    names = ("enrol", "install", "roll out")
    return sum(value for name, value in seconds.items() if name.startswith(names))


def wait_for_end(plane: Any, number: int) -> None:
    deadline = time.monotonic() + 120
    while plane.get(f"/rollouts/{number}")["state"] != "rolled_back":
        if time.monotonic() > deadline:
            raise SystemExit(f"The rollout {number} is not rolled back after two minutes")
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="rollouts-"))
    os.environ |= {"PLANE_HOME": str(home), "DJANGO_SETTINGS_MODULE": "controlplane.settings", "PORT": "0"}
    try:
        holds = run(home, arguments.devices)
    finally:
        if arguments.home is None:
            shutil.rmtree(home, ignore_errors=True)
    print("each as it has to be" if holds else "NOT as it has to be")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
