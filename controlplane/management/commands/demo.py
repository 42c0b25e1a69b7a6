"""The main job, end to end and by REST only: a real table with real gaps becomes a clean version with its lineage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.accounts.models import ApiToken, Project, User
from apps.accounts.services import create_token, revoke_token
from apps.actors import PlaneRole, plane_actor
from controlplane.env import BASE_DIR
from controlplane.rest_client import Answered, Plane, wait_until_ready

PROJECT, DATASET, CLEANED = "demo", "wti", "wti-clean"
SPEC = {"window_size": 5, "outliers": {"method": "robust_z", "action": "flag"}}


class Command(BaseCommand):
    help = "Set up accounts, start the plane, clean the WTI oil prices, say what came out, keep the dashboard up."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        self.console = Console(highlight=False)
        self.home = Path(settings.PLANE_HOME)
        self.seconds: dict[str, float] = {}
        self.facts: dict[str, Any] = {"project": PROJECT}
        self.launcher: subprocess.Popen[bytes] | None = None
        status = 1
        try:
            status = self.demonstrate()
        except (Answered, TimeoutError, OSError, subprocess.SubprocessError) as failure:
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
        with self.step("start"):
            address = self.start_plane()
        token, secret = self.token()
        try:
            return self.main_job(Plane(address, secret, PROJECT, patience=10))
        finally:
            revoke_token(actor=plane_actor(PlaneRole.OPERATOR), token=token, reason="The demo has ended")

    def main_job(self, plane: Plane) -> int:
        with self.step("import"):
            source = plane.call(
                "POST", f"/datasets/{DATASET}/versions", wti_csv(), headers={"Content-Type": "text/csv"}
            )
        with self.step("clean"):
            job = self.clean(plane, source["number"])
        if job["state"] != "succeeded":
            self.console.print(f"[red]Job {job['id']} has {job['state']}:[/red] {job['error']}")
            return 1
        with self.step("report"):
            self.report(plane, source, job)
        self.write()
        return 0

    def clean(self, plane: Plane, number: int) -> dict[str, Any]:
        """Queue the job, or find it again: the idempotency key makes a second run of the demo continue the first."""
        body = {"kind": "clean", "spec": SPEC, "register": {"dataset": CLEANED}, "name": "Clean WTI oil prices"}
        job = plane.post(f"/datasets/{DATASET}/versions/{number}/jobs", body, Idempotency_Key=f"demo-clean-v{number}")
        if job["state"] == "succeeded":
            self.console.print(f"Job {job['id']} has done this before: nothing is done twice.")
            return job
        if job["state"] in ("failed", "cancelled"):
            job = plane.post(f"/jobs/{job['id']}/retry", {"reason": "The demo was started again"})
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(f"job {job['id']}", total=None)

            def watch(found: dict[str, Any]) -> None:
                progress = found.get("progress") or {}
                stage = progress.get("stage") or found["state"]
                bars.update(bar, description=f"job {job['id']} {stage}", total=progress.get("total"))
                bars.update(bar, completed=progress.get("done") or 0)

            return plane.wait(job["id"], seconds=300, watch=watch)

    def report(self, plane: Plane, source: dict[str, Any], job: dict[str, Any]) -> None:
        cleaned = plane.get(f"/datasets/{CLEANED}/versions")["items"][0]
        before = plane.get(f"/datasets/{DATASET}/versions/{source['number']}/quality")
        after = plane.get(f"/datasets/{CLEANED}/versions/{cleaned['number']}/quality")
        graph = plane.get("/lineage", type="dataset_version", id=cleaned["id"], direction="up")
        self.console.print(quality_table(before, after))
        self.console.print(f"Cleaned version: [b]{CLEANED} v{cleaned['number']}[/b]  sha256:{cleaned['digest']}")
        label = {
            (node["type"], str(node["id"])): node.get("label") or f"{node['type']} {node['id']}"
            for node in graph["nodes"]
        }
        for edge in graph["edges"]:
            ends = [label[(edge[f"{end}_type"], edge[f"{end}_id"])] for end in ("source", "target")]
            self.console.print(f"Lineage: {ends[0]} -> {ends[1]} ({edge['role']})")
        self.facts |= {
            "source_version": {"dataset": DATASET, "number": source["number"], "digest": source["digest"]},
            "job": job["id"],
            "cleaned_version": {"dataset": CLEANED, "number": cleaned["number"], "digest": cleaned["digest"]},
            "quality": {"before": missing_of(before), "after": missing_of(after)},
        }

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
        running = running_plane(facts)
        if not running:
            facts.unlink(missing_ok=True)
            command = [sys.executable, str(BASE_DIR / "manage.py"), "up", "--no-migrate"]
            self.launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
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

    def token(self) -> tuple[ApiToken, str]:
        """A token of the engineer for this run, and its secret, of which only the digest is kept."""
        operator = plane_actor(PlaneRole.OPERATOR)
        project, user = Project.objects.get(slug=PROJECT), User.objects.get(username="engineer")
        scopes = ["read", "data:write", "jobs:write"]
        return create_token(actor=operator, project=project, user=user, name="demo", scopes=scopes, days=1)

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
            self.console.print("Press Ctrl-C to stop the plane; `make up` starts it again.")
            try:
                return self.launcher.wait()
            except KeyboardInterrupt:
                status = 0
        self.launcher.send_signal(signal.SIGTERM)
        self.launcher.wait(timeout=30)
        return status


def running_plane(facts: Path) -> dict[str, Any] | None:
    """What plane.json says, if the launcher it names still lives."""
    try:
        found: dict[str, Any] = json.loads(facts.read_text())
        os.kill(found["launcher"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return found


def wti_csv() -> bytes:
    """WTI crude oil, daily since 1986, US dollars a barrel: 8,611 rows, 290 of them missing (package arch)."""
    from arch.data import wti

    return bytes(wti.load().to_csv(lineterminator="\n"), "utf-8")


def missing_of(report: dict[str, Any]) -> dict[str, int]:
    return {column["name"]: column["missing"] for column in report["columns"]}


def quality_table(before: dict[str, Any], after: dict[str, Any]) -> Table:
    table = Table(title=f"Quality before and after, {after['rows']:,} rows, {date.today():%Y-%m-%d}")
    for heading in ("column", "missing", "", "mean", "", "std", ""):
        table.add_column(heading, justify="left" if heading == "column" else "right")
    later = {column["name"]: column for column in after["columns"]}
    for column in before["columns"]:
        now = later.get(column["name"], {})
        cells = [column["name"], f"{column['missing']:,}", f"-> {now.get('missing', 0):,}"]
        for figure in ("mean", "std"):
            old, new = ((c.get("numeric") or {}).get(figure) for c in (column, now))
            cells += ["" if old is None else f"{old:.4f}", "" if new is None else f"-> {new:.4f}"]
        table.add_row(*cells)
    return table
