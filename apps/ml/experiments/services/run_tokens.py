"""The token of a job's run: what a script in the job logs with, for as long as its attempt goes on."""

from __future__ import annotations

import secrets
from dataclasses import replace

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Unauthenticated
from apps.core.policy import require
from apps.ml.experiments.models import Run, RunToken
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.jobs.states import JobState
from deepseek.messages import N_

RUN_TOKEN_PREFIX = "dsr_"  # noqa: S105 - tells it from a person's token, and lets scanners find one
SCOPES = frozenset({"read", "runs:write"})


def create_run_token(*, actor: Actor, run: Run) -> str:
    """Make the token of the attempt that `run` was read with, and return it; an earlier attempt's is void from now on.

    It is not kept, only its digest. No record of its own: the run's says that the attempt has begun.
    """
    require(actor, "run.record", run)
    secret = RUN_TOKEN_PREFIX + secrets.token_urlsafe(32)
    RunToken.objects.update_or_create(run=run, defaults={"attempt": run.attempt, "digest": sha256_hex(secret)})
    return secret


def find_run_token_actor(secret: str, *, address: str = "", request_id: str = "") -> tuple[Actor, int, str]:
    """(who asked for the job, narrowed to its run; id and slug of its project). Raises Unauthenticated.

    The token is good while its attempt runs and whoever asked for the job may still do so.
    """
    token = RunToken.objects.select_related("run__job", "run__project").filter(digest=sha256_hex(secret)).first()
    if token is None:
        raise build_refusal("token_unknown", N_("There is no such token."))
    run, job = token.run, token.run.job
    if job is None or job.state != JobState.RUNNING or job.attempt != token.attempt:
        raise build_refusal("token_expired", N_("The token of this run has ended with the attempt of its job."))
    owner = build_actor_from_grant(job.grant)
    if owner is None:
        raise build_refusal("account_disabled", N_("Whoever asked for the job may not do so any more."))
    narrowed = replace(
        owner,
        scopes=SCOPES,
        system_role=None,
        project_roles={run.project_id: owner.get_roles_in(run.project_id)},
        run_id=run.pk,
        job_id=job.pk,
        address=address,
        request_id=request_id,
    )
    return narrowed, run.project_id, run.project.slug


def build_refusal(code: str, message: str) -> Unauthenticated:
    return Unauthenticated(message, code=code, field="Authorization")
