"""Versions of a model that can be served, and their promotion, without a training: run in a plane's own settings."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.ml.registry.documents import serialize_document
from apps.ml.registry.models import AliasMove, ModelVersion
from apps.ml.registry.promotion.facts import build_promotion_facts
from apps.ml.registry.services import register_version
from apps.ml.registry.services.aliases import move_alias
from apps.ml.registry.states import PRODUCTION, SUBJECT, MoveKind
from apps.platform.accounts.models import Project, User
from apps.platform.approvals.differences import serialize_facts
from apps.platform.approvals.models import Approval, Vote
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import JobInput, JobOutput
from tests.browser.versions import document_of, job_of
from tests.deepseek.models.making import make_model

SLOTS = {"model": "model.safetensors", "manifest": "model.json", "heldout": "heldout.safetensors"}


def register(model: str, seed: int, inputs: int = 3) -> int:
    """A version of `model` in the project demo, of one variant; returns its number."""
    project = Project.objects.get(slug="demo")
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_model(Path(folder), inputs=inputs, seed=seed)
        files = {slot: store(project, Path(folder, name).read_bytes()) for slot, name in SLOTS.items()}
    trainer = job_of(project, "train")
    for slot, artifact in files.items():
        JobOutput.objects.create(job=trainer, slot=slot, artifact=artifact, name=slot, media_type="x/y")
    job, document = job_of(project, "register"), document_of(files, 1.0 + seed)
    document |= {"features": list(manifest.features), "signature": manifest.signature.model_dump(mode="json")}
    for slot, artifact in (("fp32", files["model"]), ("fp32_manifest", files["manifest"])):
        JobInput.objects.create(job=job, slot=slot, artifact=artifact, source_job=trainer)
    written = store(project, serialize_document(document).encode())
    outputs = [("version", written, "version.json", "application/json", document)]
    worker = build_plane_actor(PlaneRole.WORKER, host="test")
    return register_version(actor=worker, project=project, model_name=model, outputs=outputs, job=job)[0].number


def promote(model: str, number: int) -> int:
    """Let production point to the version by an approval, whose rows are written as asking and voting leave them."""
    version = ModelVersion.objects.get(model__name=model, number=number)
    facts, now = serialize_facts(build_promotion_facts(version, deep=False)), timezone.now()
    engineer, approver = (User.objects.get(username=name) for name in ("engineer", "approver"))
    approval = Approval.objects.create(
        project=version.model.project,
        subject_type=SUBJECT,
        subject_id=str(version.pk),
        title=f"{version} to {PRODUCTION}",
        comment="please",
        requester="engineer",
        requester_user=engineer,
        facts=facts,
        facts_digest=sha256_hex(facts),
        needed=1,
        eligible=1,
        state=ApprovalState.APPROVED,
        deadline_at=now + timedelta(hours=72),
        decided_at=now,
    )
    vote = {"label": "approver", "decision": "approve", "reason": "good", "method": "password"}
    Vote.objects.create(approval=approval, facts_digest=approval.facts_digest, user=approver, **vote)
    before = ModelVersion.objects.filter(aliases__name=PRODUCTION, model=version.model_id).first()
    move = AliasMove(alias=PRODUCTION, kind=MoveKind.PROMOTE, from_version=before, to_version=version)
    move.approval, move.reason = approval, "please"
    move_alias(build_plane_actor(PlaneRole.OPERATOR), move)
    return approval.pk


def store(project: Project, data: bytes):

    with get_store().open_staging() as staging:
        staging.write(data)
        digest, size = staging.publish()
    artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
    Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "it"})
    return artifact


def list_actions(action: str) -> str:
    """The `after` of the records of an action, as JSON."""

    rows = AuditRecord.objects.filter(action=action).order_by("pk")
    return json.dumps([json.loads(row.body)["after"] for row in rows])
