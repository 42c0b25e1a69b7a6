"""The main job, end to end and by REST only: two real tables become two models that a second person lets go out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from rich.console import Console

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.factors.requirements import list_factors
from apps.platform.accounts.models import Project, User
from apps.platform.accounts.services import create_token, revoke_token, set_up_second_factor
from controlplane.demo import report
from controlplane.demo.edge import EdgeSteps
from controlplane.demo.endpoint import EndpointSteps
from controlplane.demo.fleet import BROKEN, DEVICES, GOOD, FleetSteps
from controlplane.demo.golden_set import GoldenSetSteps
from controlplane.demo.rollouts import RARE_FAILURES, RolloutSteps, build_facts, build_lines
from controlplane.demo.sample_data import breast_cancer_csv, wti_csv
from controlplane.demo.steps import CLASSIFIER, FORECASTER, DemoSteps, JobFailed, Story, get_seconds
from controlplane.env import BASE_DIR
from controlplane.rest_client import ApiError, PlaneClient, wait_until_ready

PROJECT = "demo"
STORIES = ((FORECASTER, wti_csv), (CLASSIFIER, breast_cancer_csv))
ENGINEER = ["read", "data:write", "jobs:write", "runs:write", "models:write", "devices:write"]
APPROVER = ["read", "models:write", "approvals:decide"]


class Command(BaseCommand):
    help = "Set up accounts, start the plane, take two models from raw tables to production and one to devices."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        self.console = Console(highlight=False)
        self.home = Path(settings.PLANE_HOME)
        self.seconds: dict[str, float] = {}
        self.facts: dict[str, Any] = {"project": PROJECT, "models": {}, "endpoints": [], "rollouts": []}
        self.launcher: subprocess.Popen[bytes] | None = None
        for ending in (signal.SIGTERM, signal.SIGHUP):  # of a closed terminal: the plane that was started ends too
            signal.signal(ending, signal.default_int_handler)
        status = 1
        try:
            status = self.demonstrate()
        except (ApiError, PlaneError, JobFailed, TimeoutError, OSError, subprocess.SubprocessError) as failure:
            self.console.print(f"[red]The demo stopped:[/red] {failure}\nLogs: {self.home / 'logs'}")
        except KeyboardInterrupt:
            status = 130
        finally:
            status = self.leave(status)
        sys.exit(status)

    # -- the job --------------------------------------------------------------------------------------------------
    def demonstrate(self) -> int:
        with self.step("migrate"):
            call_command("migrate", interactive=False, verbosity=0)
        with self.step("accounts"):
            call_command("create_first_accounts")
            self.set_up_second_factor("approver")
        with self.step("start"):
            address = self.start_plane()
        with self.token("engineer", ENGINEER) as asks, self.token("approver", APPROVER) as decides:
            planes = [PlaneClient(address, secret, PROJECT, patience=10) for secret in (asks, decides)]
            chain, golden = DemoSteps(*planes, self.console), GoldenSetSteps(*planes, self.console)
            served, endpoint = EndpointSteps(planes[0], self.console), ""
            fleet, rollouts = FleetSteps(planes[0], self.console, self.home), RolloutSteps(*planes, self.console)
            edge, trainings = EdgeSteps(planes[0], self.console), {}
            begun = [self.begin(chain, story, table()) for story, table in STORIES]  # each goes on beside the other
            for (story, table), (source, queued) in zip(STORIES, begun, strict=True):
                pipeline = self.tell(chain, golden, story, source, queued)
                endpoint = endpoint or served.create(story)
                if story is STORIES[0][0] and not rollouts.find_ended(story):  # they run beside the next story
                    trainings = {each.name: fleet.queue(story, each, table()) for each in (GOOD, BROKEN)}
            compilation = edge.queue(story, pipeline)  # beside the rollouts
            if endpoint:
                with self.step(f"endpoint {endpoint}"):
                    self.facts["endpoints"].append(served.wait(endpoint))
            self.roll_out(address, fleet, rollouts, trainings)
            self.console.rule("aarch64")
            with self.step("compile for aarch64"):
                self.facts["edge"] = None if compilation is None else edge.wait(compilation)
        self.write()
        return 0

    def begin(self, chain: DemoSteps, story: Story, table: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Import the table of a story and queue its pipeline: (dataset version, pipeline)."""
        with self.step(f"import {story.dataset}"):
            source = chain.import_table(story, table)
        return source, chain.queue(story, source["number"])

    def tell(
        self,
        chain: DemoSteps,
        golden: GoldenSetSteps,
        story: Story,
        source: dict[str, Any],
        queued: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Run one story: pipeline, registration, gate and approval, production. Returns the pipeline."""
        self.console.rule(story.model)
        with self.step(f"pipeline {story.model}"):
            pipeline = chain.finish(story, queued)
        for step in pipeline["steps"]:
            self.console.print(f"[dim]  {step['name']}: {get_seconds(step):.1f} s[/dim]")
        with self.step(f"evaluate {story.model}"):
            measured = golden.guard(story, pipeline)
        with self.step(f"approve {story.model}"):
            version = chain.promote(story, pipeline)
        with self.step(f"report {story.model}"):
            self.report(chain.engineer, story, source, pipeline, version)
            self.report_golden(version, measured, golden.gates(version))
        return pipeline

    def roll_out(self, address: str, fleet: FleetSteps, rollouts: RolloutSteps, trainings: Mapping[str, int]) -> None:
        """A good version to all simulated devices, and a broken one that is rolled back at a tenth of them."""
        story = STORIES[0][0]
        self.console.rule("rollouts")
        ended = rollouts.find_ended(story)
        if ended:
            self.console.print(f"The rollouts of {story.model} have ended: nothing is done twice.")
        else:
            with self.step("train two versions"):
                versions = {name: fleet.wait_for_version(story, number) for name, number in trainings.items()}
            production = rollouts.engineer.get(f"/models/{story.model}/aliases/production")
            with fleet.run_devices(address, production):
                with self.step(f"enrol {DEVICES} devices"):
                    devices = fleet.wait_for_devices()
                with self.step(f"install {story.model} v{production['number']}"):
                    fleet.install(story, production["number"], devices)
                for name, number in versions.items():
                    with self.step(f"roll out the {name} version"):
                        ended.append(rollouts.run(story, number, f"The {name} version"))
        for rollout in ended:
            for line in build_lines(rollout, rollouts.list_evidence(rollout)):
                self.console.print(line)
        self.console.print(RARE_FAILURES)
        self.facts["rollouts"] = [build_facts(rollout) for rollout in ended]

    def report(
        self,
        plane: PlaneClient,
        story: Story,
        source: dict[str, Any],
        pipeline: dict[str, Any],
        version: dict[str, Any],
    ) -> None:
        cleaned = plane.get(f"/datasets/{story.cleaned}/versions")["items"][0]
        before = plane.get(f"/datasets/{story.dataset}/versions/{source['number']}/quality")
        after = plane.get(f"/datasets/{story.cleaned}/versions/{cleaned['number']}/quality")
        missing = report.count_missing(before), report.count_missing(after)
        if any(missing[0].values()):
            self.console.print(report.build_quality_table(before, after))
        self.console.print(report.build_variants_table(version))
        for line in [*report.build_baseline_lines(version), *report.list_notes(version)]:
            self.console.print(line)
        self.console.print(f"In production: [b]{story.model} v{version['number']}[/b]  sha256:{version['digest']}")
        self.trace(plane, version)
        self.facts["models"][story.model] = {
            "source": {key: source[key] for key in ("dataset", "number", "digest")},
            "cleaned": {key: cleaned[key] for key in ("dataset", "number", "digest")},
            "missing": {"before": sum(missing[0].values()), "after": sum(missing[1].values())},
            "pipeline": pipeline["id"],
            "seconds": {step["name"]: get_seconds(step) for step in pipeline["steps"]},
            "production": version["number"],
            "digest": version["digest"],
            "variants": {variant["name"]: variant["digest"] for variant in version["variants"]},
        }

    def report_golden(self, version: dict[str, Any], measured: list[dict[str, Any]], gates: dict[str, Any]) -> None:
        """Every form on the golden set, and what the gate said when the promotion was asked for."""
        self.console.print(report.build_golden_table(measured))
        for line in report.build_gate_lines(gates):
            self.console.print(line)
        self.facts["models"][version["model"]]["golden"] = {
            "set": measured[0]["set"],
            "rows": measured[0]["rows"],
            "evaluations": {row["variant"]: row["id"] for row in measured},
            "trained": report.get_values(version["metrics"]),
            "measured": report.get_values(measured[0]["metrics"]),
            "gates": [row["gate"]["id"] for row in gates["gates"]],
            "asked": [row["verdict"] for row in gates["history"]],
        }

    def trace(self, plane: PlaneClient, version: dict[str, Any]) -> None:
        """Trace the model back to its raw table in one call."""
        graph = plane.get("/lineage", type="variant", id=version["variants"][-1]["id"], direction="up", depth=10)
        ends = sorted(graph["nodes"], key=lambda node: -node["depth"])
        self.console.print(" <- ".join(node["label"] or f"{node['type']} {node['id'][:12]}" for node in ends))

    # -- around it ------------------------------------------------------------------------------------------------
    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 3)
        self.console.print(f"[dim]{name}: {self.seconds[name]:.2f} s[/dim]")

    def start_plane(self) -> str:
        """The address of the plane of this home, started if it is not running."""
        facts = self.home / "plane.json"
        running = find_running_plane(facts)
        if not running:
            facts.unlink(missing_ok=True)
            environment = {**os.environ, "PLANE_HOME": str(self.home)}
            command = [sys.executable, "-m", "controlplane", "up", "--no-migrate"]
            self.launcher = subprocess.Popen(
                command, cwd=BASE_DIR, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
            )
            deadline = time.monotonic() + 60
            while not facts.exists():
                if self.launcher.poll() is not None:
                    raise OSError(f"`manage.py up` ended with status {self.launcher.returncode}")
                if time.monotonic() > deadline:
                    raise TimeoutError("`manage.py up` did not come up in 60 s")
                time.sleep(0.05)
            running = json.loads(facts.read_text())
        address = str(running["address"])
        wait_until_ready(address, seconds=60)
        self.facts["address"] = address
        return address

    def set_up_second_factor(self, name: str) -> None:
        """An authenticator app for a first account, whose secret is made now and printed once; later runs leave it."""
        user = User.objects.get(username=name)
        if not user.must_change_password or list_factors(user.pk):
            return
        secret = set_up_second_factor(actor=build_plane_actor(PlaneRole.OPERATOR), user=user)
        self.console.print(f"Second factor of {name}, shown once: [b]{secret}[/b]")
        self.console.print(
            f"  Type it into an authenticator app, or print a code by:  echo {secret} | python manage.py show_code\n"
            "  The administrators set up theirs at their first log-in."
        )

    @contextmanager
    def token(self, name: str, scopes: list[str]) -> Iterator[str]:
        """Create a token that ends with the demo, and return its secret; only the digest is stored.

        The demo plays the person: a token that the operator creates for somebody decides nothing.
        """
        project, actor = Project.objects.get(slug=PROJECT), build_actor_for_user(User.objects.get(username=name))
        token, secret = create_token(actor=actor, project=project, name="demo", scopes=scopes, days=1)
        try:
            yield secret
        finally:
            operator = build_plane_actor(PlaneRole.OPERATOR)
            revoke_token(actor=operator, token=token, reason="The demo has ended")

    def write(self) -> None:
        self.facts["seconds"] = self.seconds
        staged = self.home / "demo.json.staged"
        staged.write_text(json.dumps(self.facts, indent=1))
        staged.rename(self.home / "demo.json")
        self.console.print(f"\n[b]{sum(self.seconds.values()):.1f} s[/b] in all; facts in {self.home / 'demo.json'}")
        self.console.print(f"The dashboard is up: [b]{self.facts['address']}[/b]  (log in as engineer)")

    def leave(self, status: int) -> int:
        """Stop the plane that this demo started, or stay with it until Ctrl-C."""
        if self.launcher is None:
            return status
        if status == 0 and os.environ.get("DEMO_EXIT") != "1":
            try:
                self.console.print("Press Ctrl-C to stop the plane; `make up` starts it again.")
                return self.launcher.wait()
            except KeyboardInterrupt:
                status = 0
        self.launcher.send_signal(signal.SIGTERM)
        self.launcher.wait(timeout=30)
        return status


def find_running_plane(facts: Path) -> dict[str, Any] | None:
    """What plane.json says, if the launcher it names still lives."""
    try:
        facts_read: dict[str, Any] = json.loads(facts.read_text())
        os.kill(facts_read["launcher"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return facts_read
