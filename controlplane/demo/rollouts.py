"""Two rollouts to the simulated devices: a good version that approvers let on, and a broken one that its gate stops."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console

from controlplane.demo.fleet import DEVICES, VARIANT
from controlplane.demo.steps import Story
from controlplane.rest_client import PlaneClient

MARGIN = 0.5
"""Dollars a barrel by which a version's mean absolute error may be worse and still go on."""
CANARIES = 4
RARE_FAILURES = (
    f"{CANARIES} canaries prove nothing about rare failures: with none among them, up to 53 % of the devices may "
    "still fail (95 % confidence). The verdicts are about the mean error of a device and its margin."
)
TOLERANCE = 0.1
"""Dollars a barrel by which a good version may look worse by chance: the gate calls more than that harm."""
GATES: list[dict[str, Any]] = [
    {
        "name": "absolute_error",
        "tests": ["harm", "non_inferiority"],
        "margin": MARGIN,
        "tolerance": TOLERANCE,
        "min_observations": 40,
    },
    {"name": "install", "measure": "install_failure", "scale": "binary", "reference": "limit", "limit": 0.5},
]
PLAN: dict[str, Any] = {
    "waves": [{"share": 0.1}, {"share": 1}],
    "canary": {"gates": GATES, "soak_seconds": 5, "min_canary": CANARIES, "min_control": 10},
    "look_seconds": 2,
    "deadline_seconds": 120,
    "wave_deadline_seconds": 180,
    "without_samples": True,
    "covers_new": False,
}
ENDED = ("completed", "rolled_back", "aborted")
ROLLOUT_SECONDS = 400.0


class RolloutSteps:
    """The engineer plans and asks, the approver decides; the gates of the plan do the rest."""

    def __init__(self, engineer: PlaneClient, approver: PlaneClient, console: Console) -> None:
        self.engineer, self.approver, self.console = engineer, approver, console

    def find_ended(self, story: Story) -> list[dict[str, Any]]:
        """What an earlier run of the demo has rolled out, the oldest first."""
        rows = self.engineer.get("/rollouts", model=story.model)["items"]
        return [self.engineer.get(f"/rollouts/{row['id']}") for row in reversed(rows) if row["state"] in ENDED]

    def run(
        self, story: Story, number: int, title: str, plan: Mapping[str, Any] = PLAN, ends: Collection[str] = ENDED
    ) -> dict[str, Any]:
        """Plan the rollout, approve whatever it asks for, and follow it until its state is one of `ends`."""
        body = {"title": title, "model": story.model, "version": number, **plan}
        body["variants"] = dict.fromkeys(("x86_64", "aarch64"), VARIANT)
        rollout = self.engineer.post("/rollouts", body)
        path = f"/rollouts/{rollout['id']}"
        rollout = self.engineer.post(f"{path}/request-start", {"comment": title})
        self.approve(rollout["approval"], "A tenth of the devices first.")
        deadline, state = time.monotonic() + ROLLOUT_SECONDS, ""
        while True:
            rollout = self.engineer.get(path)
            if rollout["state"] != state:
                state = rollout["state"]
                self.console.print(f"[dim]  {title}: {state}[/dim]")
            if state in ends:
                return dict(rollout)
            if state == "awaiting_decision":
                self.approve(rollout["decision"], "The canaries are not worse by the margin.")
            if state in ("held", *ENDED) or time.monotonic() > deadline:
                raise TimeoutError(f"The rollout {rollout['id']} is {state}: {rollout['reason']}")
            time.sleep(0.5)

    def approve(self, number: int, reason: str) -> None:
        approval = self.approver.get(f"/approvals/{number}")
        if approval["state"] == "pending":
            body = {"facts_digest": approval["facts_digest"], "reason": reason}
            self.approver.post(f"/approvals/{number}/approve", body)

    def list_evidence(self, rollout: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The last look at each wave that was compared with devices without the version."""
        looks = self.engineer.get(f"/rollouts/{rollout['id']}/evidence")["items"]
        return list({look["wave"]: look for look in sorted(looks, key=lambda look: look["number"])}.values())


def build_facts(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """What demo.json says of a rollout."""
    return {
        "model": rollout["model"],
        "version": rollout["version"],
        "state": rollout["state"],
        "waves": [
            {"share": wave["size"].get("share"), "devices": wave["devices"], "verdict": wave["verdict"]}
            for wave in rollout["waves"]
        ],
        "approvals": [number for number in (rollout["approval"], rollout["decision"]) if number is not None],
    }


def build_lines(
    rollout: Mapping[str, Any], evidence: list[dict[str, Any]], count: int = DEVICES, margin: float = MARGIN
) -> list[str]:
    """What happened, with the figures of each look. `count`: the devices that there are."""
    name = f"{rollout['model']} v{rollout['version']}"
    lines = [
        f"{name} on {rollout['waves'][look['wave']]['devices']} of {count} devices: mean absolute error "
        f"{describe_difference(gate)}, margin {margin:g}: {look['verdict'].replace('_', ' ')}"
        for look in evidence
        for gate in look["document"]["gates"]
        if gate["name"] == "absolute_error"
    ]
    return [*lines, f"{name} is [b]{rollout['state'].replace('_', ' ')}[/b]"]


def describe_difference(gate: Mapping[str, Any]) -> str:
    if gate["harm"] is None:
        return "not compared"
    canary, control = (gate[arm]["value"] for arm in ("canary", "control"))
    bounds = ["" if gate[end] is None else f"{gate[end]:+.3g}" for end in ("low", "high")]
    return f"{canary:.3g} beside {control:.3g}, worse by {gate['harm']:+.3g} [{', '.join(bounds)}]"
