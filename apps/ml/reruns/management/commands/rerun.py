"""manage.py rerun RUN [--wait] [--actor USER] [--relative R] [--absolute A]"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from apps.core.actors import Actor
from apps.core.errors import Conflict, NotFound
from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import RUN_ID
from apps.ml.reruns import verdict_text
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.preflight import find_refusal
from apps.ml.reruns.services import evaluate_ended_reruns, rerun_run
from apps.ml.reruns.states import RerunState, Verdict
from apps.ml.reruns.tolerance import build_tolerance
from apps.platform.accounts.actors import build_actor_for_user, build_actor_from_grant
from apps.platform.accounts.management.base import OperatorCommand, find_user
from apps.platform.accounts.models import User
from deepseek.messages import N_

POLL_SECONDS = 0.5


class Command(OperatorCommand):
    help = (
        "Make a run again from its record alone: the same spec, seed and bytes, as a new job with no past. With --wait "
        "the verdict: exit status 0 for identical and within tolerance, 1 for different and for no verdict, 2 for what "
        "cannot be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", help="id of the run: 32 hex digits")
        parser.add_argument("--wait", action="store_true", help="wait for the verdict; a worker must be running")
        parser.add_argument("--actor", default="", help="the person to act as (default: who asked for the run's job)")
        parser.add_argument("--relative", type=float, help="tolerance: share of the larger of two numbers")
        parser.add_argument("--absolute", type=float, help="tolerance in the number's own unit")
        parser.add_argument("--json", action="store_true", help="print the verdict as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        run = find_run(options["run"])
        rerun, _is_new = rerun_run(
            actor=resolve_actor(run, options["actor"]),
            run=run,
            tolerance=build_tolerance(options["relative"], options["absolute"]),
        )
        self.stderr.write(f"rerun {rerun.pk} of run {run.pk}: job {rerun.job_id} is queued")
        for difference in verdict_text.add_labels(rerun.foreseen):
            self.stderr.write(
                f"known to differ: {difference['word']}: {difference['was'] or 'none'} -> {difference['now'] or 'none'}"
            )
        if not options["wait"]:
            self.stdout.write(str(rerun.pk))
            return
        rerun = self.wait_for_verdict(rerun)
        self.tell(rerun, as_json=options["json"])
        if rerun.verdict not in (Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE):
            sys.exit(1)

    def wait_for_verdict(self, rerun: Rerun) -> Rerun:
        """The rerun once its job has ended; judged here, should the dispatcher be slower or not run."""
        while rerun.state == RerunState.RUNNING:
            time.sleep(POLL_SECONDS)
            evaluate_ended_reruns(actor=self.actor, only=rerun.pk)
            rerun.refresh_from_db()
        return rerun

    def tell(self, rerun: Rerun, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"rerun": rerun.pk, "verdict": rerun.verdict, **rerun.document}, indent=1))
            return
        if not rerun.verdict:
            self.stdout.write(f"no verdict: {rerun.document.get('error', {}).get('message', rerun.state)}")
            for item in rerun.document.get("inputs", []):
                self.stdout.write(f"  {item['message']}")
            return
        self.stdout.write(f"{rerun.verdict}: {verdict_text.summarize_verdict(rerun.document)}")
        for item in verdict_text.add_labels(rerun.document["inputs"]):
            self.stdout.write(f"  differs: {item['word']}: {item['was'] or 'none'} -> {item['now'] or 'none'}")
        for item in rerun.document["metrics"]["items"]:
            far = item["relative"]
            self.stdout.write(f"  {item['key']}: {item['verdict']}, relative {far['difference']} at step {far['step']}")
        for item in rerun.document["outputs"]["items"]:
            times = " (only times differ)" if item["times_only"] else ""
            self.stdout.write(f"  {item['path']}: {item['was'][:12] or 'none'} -> {item['now'][:12] or 'none'}{times}")


def find_run(run_id: str) -> Run:
    run = Run.objects.select_related("job", "project").filter(pk=run_id).first() if RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise NotFound(
            "There is no run {run_id!r}.",
            run_id=run_id[:40],
            field="run",
            hint=N_("32 hex digits, as its page shows them."),
        )
    return run


def resolve_actor(run: Run, username: str) -> Actor:
    """The person named, else whoever asked for the job of the run, with the rights that they have now.

    A person needs no token here, so one that is over does not matter; a service account acts by its token alone.
    """
    if run.job is None and (refusal := find_refusal(run, [])):  # nobody can run it again, whoever asks
        raise refusal
    if username:
        return build_actor_for_user(find_user(username))
    grant = run.job.grant if run.job is not None else {}
    person = User.objects.filter(pk=grant.get("user"), is_active=True).first()
    actor = build_actor_for_user(person) if person else build_actor_from_grant(grant)
    if actor is not None and actor.project_roles:
        return actor
    raise Conflict(
        "{created_by}, who asked for this run, may not act any more.",
        created_by=run.created_by,
        code="authority_gone",
        field="--actor",
        hint=N_("Name a person who is an engineer of the project: --actor USER."),
    )
