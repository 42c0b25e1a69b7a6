"""Releases: issued of what was approved, signed with the active key; revoked by the list of keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import Conflict, StaleState
from apps.fleet.releases.architectures import get_architecture
from apps.fleet.releases.key_storage import convert_error, load_signer
from apps.fleet.releases.models import Release, ReleaseFile, ReleaseKey, SequenceFloor
from apps.fleet.releases.provenance import build_provenance
from apps.fleet.releases.samples import find_samples
from apps.fleet.releases.services.key_lists import format_time, publish_key_list
from apps.fleet.releases.services.keys import check_reason, create_key, get_active_key
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.ml.registry.blocks import require_unblocked
from apps.ml.registry.models import AliasMove, Model, ModelVersion, Variant
from apps.ml.registry.promotion.facts import compute_stored_digest
from apps.ml.registry.states import MoveKind
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.queries import Damaged
from apps.platform.audit.services import change_state, record
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.messages import N_
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import Signer
from deepseek.signing.provenance import sign_provenance
from deepseek.signing.statements import (
    MANIFEST_FILE,
    SAMPLES_FILE,
    Decision,
    ReleaseApproval,
    ReleaseStatement,
    sign_release,
)
from deepseek.signing.statements import ReleaseFile as FileStatement


@dataclass(frozen=True)
class ReleasedFile:
    name: str
    artifact: Artifact


def issue_release(
    *, actor: Actor, variant: Variant, approval: Approval | None = None, without_samples: bool = False
) -> Release:
    """Sign that devices may install this variant. Its authority is the approved promotion of its version, or the
    `approval` that the caller answers for, which must be of the same project.

    The plane makes its first key here, if there is none. Raises Conflict `release_needs_approval`,
    `release_needs_samples` (unless `without_samples`), `not_deployable`; Damaged where bytes are not whole; Unavailable
    where the key cannot be used.
    """
    version = variant.version
    policy.require(actor, "release.issue", version.model)
    require_unblocked(version)
    approval = require_approval(version, approval)
    get_architecture(variant)  # raises for what no device could run, before anything is read
    files = list_files(variant, without_samples=without_samples)
    for file in files:  # outside the transaction: reading takes as long as the bytes are many
        if compute_stored_digest(file.artifact.digest) != file.artifact.digest:
            raise Damaged(file.artifact.digest)
    key = get_active_key() or create_first_key()
    signer = load_signer(key)
    try:
        with transaction.atomic():
            # Releases of one model wait for each other: each takes the next sequence.
            Model.objects.select_for_update().get(pk=version.model_id)
            if not ModelVersion.objects.filter(pk=version.pk, deleted_at=None, model__deleted_at=None).exists():
                raise StaleState("{version} was deleted meanwhile.", version=version, field="version")
            require_unblocked(version)
            check_still_active(key)
            provenance = make_provenance(variant, signer)
            statement = build_statement(variant, files, approval, provenance.digest)
            release = store_release(actor, variant, statement, files, key, signer, approval, provenance)
    except IntegrityError:
        raise StaleState(
            "Another release was issued meanwhile.", field="sequence", hint=N_("Issue it again.")
        ) from None
    return release


def check_still_active(key: ReleaseKey) -> None:
    """Hold the key as it is until the transaction ends. Raises StaleState where it was rotated or revoked meanwhile."""
    rows = ReleaseKey.objects.select_for_update(no_key=True)
    if rows.filter(pk=key.pk, state=KeyState.ACTIVE).first() is None:
        raise StaleState(
            "The release key {key_id} was rotated or revoked meanwhile.",
            key_id=key.key_id,
            field="key",
            hint=N_("Issue it again."),
        )


def create_first_key() -> ReleaseKey:
    """The plane's own act: whoever issues the first release need not be its operator."""
    operator = build_plane_actor(PlaneRole.OPERATOR)
    return create_key(actor=operator, uri=settings.ENV.release_pkcs11_uri)


def require_approval(version: ModelVersion, approval: Approval | None) -> Approval:
    """The approval that lets the version out. Raises Conflict where there is none, or not an approved one."""
    if approval is None:
        moves = AliasMove.objects.filter(
            to_version=version, kind=MoveKind.PROMOTE, approval__state=ApprovalState.APPROVED
        )
        move = moves.select_related("approval").order_by("-pk").first()
        approval = move.approval if move else None
    if (
        approval is None
        or approval.state != ApprovalState.APPROVED
        or approval.project_id != version.project_id
        or not approval.votes.exists()
    ):
        raise Conflict(
            "Nobody has approved {version}.",
            version=version,
            code="release_needs_approval",
            field="version",
            limit="an approved promotion of this version",
            hint=N_("Request its promotion: POST .../versions/<n>/promote."),
        )
    return approval


def list_files(variant: Variant, *, without_samples: bool) -> list[ReleasedFile]:
    """What a device gets: the model's file, its manifest, and the samples that were made of it."""
    files = [ReleasedFile(variant.file, variant.artifact), ReleasedFile(MANIFEST_FILE, variant.manifest)]
    samples = find_samples(variant)
    if samples is not None:
        files.append(ReleasedFile(SAMPLES_FILE, samples))
    elif not without_samples:
        raise Conflict(
            "{variant} has no samples by which a device could check it.",
            variant=variant,
            code="release_needs_samples",
            field="without_samples",
            limit="samples of this variant",
            hint=N_("Make them: POST .../releases/samples. Or send without_samples: devices then only open it."),
        )
    return files


def make_provenance(variant: Variant, signer: Signer) -> Envelope:
    """How the variant was made, signed with the key of its release, which names it by its digest."""
    try:
        return sign_provenance(build_provenance(variant), signer)
    except SigningError as error:
        raise convert_error(error) from error


def build_statement(
    variant: Variant, files: list[ReleasedFile], approval: Approval, provenance: str
) -> ReleaseStatement:
    version, model = variant.version, variant.version.model
    issued = Release.objects.filter(project=model.project_id, model_name=model.name)
    newest = issued.aggregate(newest=Max("sequence"))["newest"] or 0
    floor = SequenceFloor.objects.aggregate(floor=Max("floor"))["floor"] or 1
    return ReleaseStatement(
        project=model.project.slug,
        model=model.name,
        version=version.number,
        variant=variant.name,
        format=variant.format,
        architecture=get_architecture(variant),
        sequence=max(newest + 1, floor),
        issued_at=format_time(datetime.now(UTC)),
        files=tuple(FileStatement(file.name, file.artifact.size, file.artifact.digest) for file in files),
        samples=SAMPLES_FILE if any(file.name == SAMPLES_FILE for file in files) else None,
        approval=describe_approval(approval),
        provenance=provenance,
    )


def describe_approval(approval: Approval) -> ReleaseApproval:
    """Who decided what and when, as the votes have it."""
    votes = approval.votes.order_by("pk")
    return ReleaseApproval(
        id=approval.pk,
        subject=approval.subject_type,
        facts_digest=approval.facts_digest,
        decisions=tuple(Decision(vote.label, cast(Any, vote.decision), format_time(vote.at)) for vote in votes),
    )


def store_release(
    actor: Actor,
    variant: Variant,
    statement: ReleaseStatement,
    files: list[ReleasedFile],
    key: ReleaseKey,
    signer: Signer,
    approval: Approval,
    provenance: Envelope,
) -> Release:
    """Sign the statement and keep it, with its provenance, its record and its lineage."""
    try:
        envelope = sign_release(statement, signer)
    except SigningError as error:
        raise convert_error(error) from error
    model = variant.version.model
    release = Release.objects.create(
        project=model.project,
        model=model,
        model_name=model.name,
        variant=variant,
        format=variant.format,
        architecture=statement.architecture,
        sequence=statement.sequence,
        envelope=envelope.to_json(),
        provenance=provenance.to_json(),
        payload_digest=envelope.digest,
        key=key,
        approval=approval,
        created_by=actor.label,
    )
    rows = [ReleaseFile(release=release, name=f.name, artifact=f.artifact, size=f.artifact.size) for f in files]
    ReleaseFile.objects.bulk_create(rows)
    record(
        actor=actor,
        action="release.issue",
        obj=release,
        after={
            "model": model.name,
            "version": variant.version.number,
            "variant": variant.name,
            "sequence": release.sequence,
            "architecture": release.architecture,
            "approval": approval.pk,
            "key": key.key_id,
        },
        digests={
            "release": envelope.digest,
            "provenance": provenance.digest,
            **{file.name: file.artifact.digest for file in files},
        },
    )
    source = End("variant", str(variant.pk), digest=variant.artifact.digest, label=str(variant))
    target = End("release", str(release.pk), digest=envelope.digest, label=str(release))
    version = End("model_version", str(variant.version_id), digest=variant.version.digest, label=str(variant.version))
    edges = [EdgeSpec.between(version, target, "version"), EdgeSpec.between(source, target, "variant")]
    record_edges(actor=build_plane_actor(PlaneRole.WORKER), project=model.project, edges=edges)
    return release


def revoke_releases(*, actor: Actor, project: Project, releases: Sequence[Release], reason: str) -> list[Release]:
    """Revoke those of the project's releases that count, with one new list of keys for them all; returns them."""
    policy.require(actor, "release.revoke", project)
    check_reason(reason)
    with transaction.atomic():
        rows = Release.objects.filter(project=project, pk__in=[release.pk for release in releases])
        revoked = list(rows.filter(state=ReleaseState.ISSUED).order_by("pk").select_for_update(of=("self",)))
        for release in revoked:
            change_state(
                release,
                ReleaseState.REVOKED,
                actor=actor,
                action="release.revoke",
                reason=reason,
                digests={"release": release.payload_digest},
                revoked_at=timezone.now(),
                revocation_reason=reason,
            )
        if revoked:
            publish_key_list(build_plane_actor(PlaneRole.OPERATOR))
    return revoked


def revoke_release(*, actor: Actor, release: Release, reason: str) -> Release:
    """Let no device install it any more: its digest goes on the next list of keys. Devices that run it go on until
    another release is assigned to them."""
    policy.require(actor, "release.revoke", release)
    check_reason(reason)
    with transaction.atomic():
        change_state(
            release,
            ReleaseState.REVOKED,
            actor=actor,
            action="release.revoke",
            reason=reason,
            digests={"release": release.payload_digest},
            revoked_at=timezone.now(),
            revocation_reason=reason,
        )
        publish_key_list(build_plane_actor(PlaneRole.OPERATOR))
    return release
