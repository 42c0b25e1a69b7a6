"""What a site does on its own plane: import a study, bind data, have it approved, join and leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, PlaneError
from apps.core.policy import require
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import get_single_table
from apps.ml.federation.bundles import SiteCertificate, parse_bundle, parse_invitation
from apps.ml.federation.certificates import check_certificate, compute_fingerprint, create_request
from apps.ml.federation.facts import SUBJECT, build_participation_facts, read_spec
from apps.ml.federation.key_cipher import encrypt_key
from apps.ml.federation.models import SiteStudy
from apps.ml.federation.notices import notify_site_ended, notify_site_void
from apps.ml.federation.services.locks import lock_job_of
from apps.ml.federation.services.studies import end_job, store_code
from apps.ml.federation.states import ENDED_SITE_STUDY, SiteStudyState
from apps.ml.federation.validation import check_data, require_site_study_state
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.approvals.differences import find_changes
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval, void_requests
from apps.platform.approvals.validation import build_void_error
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.federated.code import compute_study_code_digest
from deepseek.messages import N_, Message
from deepseek.signing.keys import encode_public_key, generate_key

SITE_KIND = "federation_site"
DATA_SLOT = "table"
S = SiteStudyState


def import_study(*, actor: Actor, project: Project, content: bytes | str) -> SiteStudy:
    """Take in the invitation of a study, and make the keys of this site, which never leave this plane.

    Raises TooLarge, Invalid `bad_invitation` and for each field at fault, Conflict `already_imported`.
    """
    require(actor, "federation.import_study", project)
    invitation, spec = parse_invitation(content)
    identity = {"digest": invitation.digest, "site": invitation.site}
    if SiteStudy.objects.filter(project=project, **identity).exists():
        raise build_imported_error(spec.name, invitation.site)
    code = store_code(actor, project, invitation.code)
    pair, signer = create_request(invitation.site), generate_key()
    ledger_key = signer.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    row = SiteStudy(
        project=project,
        **identity,
        name=spec.name,
        document=spec.to_document(),
        code=code,
        host=invitation.host,
        port=invitation.port,
        coordinator=invitation.coordinator,
        authority_certificate=invitation.authority,
        request=pair.certificate,
        key=encrypt_key(pair.key),
        ledger_key=encrypt_key(ledger_key),
        public_key=encode_public_key(signer.public_key),
        imported_by=actor.label[:200],
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            record(
                actor=actor,
                action="federation.import_study",
                obj=row,
                after={"study": row.name, "site": row.site, "host": row.host, "port": row.port},
                digests={
                    "study": row.digest,
                    "code": spec.code_digest,
                    "authority": compute_fingerprint(row.authority_certificate),
                },
            )
    except IntegrityError:
        raise build_imported_error(spec.name, invitation.site) from None
    return row


def build_imported_error(study: str, site: str) -> Conflict:
    return Conflict(
        "The study {study} is here already, for the site {site}.",
        study=study,
        site=site,
        code="already_imported",
        field="file",
        hint=N_("Open it in the list of studies."),
    )


def store_certificate(*, actor: Actor, site_study: SiteStudy, content: bytes | str) -> SiteStudy:
    """Keep the certificate that the coordinator signed for this site. Raises TooLarge, Invalid `bad_certificate`."""
    require(actor, "federation.import_study", site_study)
    bundle = parse_bundle(SiteCertificate, content, "file")
    if (bundle.digest, bundle.site) != (site_study.digest, site_study.site):
        raise Invalid(
            "The certificate is for {site} in another study, or for another site.",
            site=bundle.site,
            code="bad_certificate",
            field="file",
            limit=f"{site_study.name}, {site_study.site}",
            hint=N_("Download the certificate of this site on the coordinator's plane."),
        )
    text = check_certificate(bundle.certificate, site_study.authority_certificate, site_study.request)
    with transaction.atomic():
        row = lock_site_study(site_study, tuple(set(S) - set(ENDED_SITE_STUDY)))
        row.certificate = text
        row.save(update_fields=["certificate"])
        digests = {"certificate": compute_fingerprint(text)}
        record(actor=actor, action="federation.store_certificate", obj=row, digests=digests)
    return row


def bind_data(*, actor: Actor, site_study: SiteStudy, version: DatasetVersion) -> SiteStudy:
    """Choose the dataset version that the study trains on here. Another one voids an approval.

    Raises Invalid naming each column that does not fit the study, Conflict `study_state`.
    """
    require(actor, "federation.bind_data", site_study)
    if version.project_id != site_study.project_id:
        raise Invalid("The dataset version is of another project.", field="data", limit=N_("of this project"))
    require_site_study_state(site_study, (S.IMPORTED, S.APPROVED, S.VOID))
    check_data(actor, version, read_spec(site_study.document).schema_)
    with transaction.atomic():
        row = lock_site_study(site_study, (S.IMPORTED, S.APPROVED, S.VOID))
        if row.data_id == version.pk:
            return row
        before, row.data = row.data, version
        row.save(update_fields=["data"])
        record(
            actor=actor,
            action="federation.bind_data",
            obj=row,
            before={"data": str(before) if before else ""},
            after={"data": str(version)},
            digests={"data": version.digest},
        )
        reason = Message("The data is now {version}.", version=version)
        if row.state == S.APPROVED:
            change_state(row, S.VOID, actor=actor, reason=reason)
            notify_site_void(row, actor)
        void_waiting_requests(row, reason)
    return row


def void_waiting_requests(row: SiteStudy, reason: str) -> None:
    """End the requests about the site that wait for a vote, in the name of the plane: a token that may choose the data,
    or leave, needs no scope of approvals for it."""
    actor = build_plane_actor(PlaneRole.DISPATCHER)
    void_requests(actor=actor, project=row.project, subject_type=SUBJECT, subject_id=row.pk, reason=reason)


def lock_site_study(site_study: SiteStudy, states: tuple[str, ...]) -> SiteStudy:
    """The study of this site as it is now, locked. Raises Conflict `study_state`."""
    rows = SiteStudy.objects.select_for_update(of=("self",)).select_related("project", "data__dataset", "job")
    row = rows.get(pk=site_study.pk)
    require_site_study_state(row, states)
    return row


# -- approval -------------------------------------------------------------------------------------------------------
def request_participation(*, actor: Actor, site_study: SiteStudy, comment: str = "") -> Approval:
    """Ask the approvers of this site whether it takes part, on exactly these digests.

    Raises Conflict `study_state`, `no_data`, `code_differs`, and what `request_approval` raises.
    """
    require(actor, "federation.request_approval", site_study)
    with transaction.atomic():
        row = lock_site_study(site_study, (S.IMPORTED, S.VOID))
        if row.data is None:
            raise Conflict(
                "No dataset version is chosen.",
                code="no_data",
                field="data",
                hint=N_("Choose the data of this site first."),
            )
        require_code(row)
        return request_approval(
            actor=actor,
            project=row.project,
            subject_type=SUBJECT,
            subject_id=row.pk,
            title=f"Take part in {row.name} as {row.site}"[:200],
            facts=build_participation_facts(row),
            comment=comment,
        )


def require_code(row: SiteStudy) -> None:
    """Raise Conflict `code_differs` where the installed engine is not the code of the study."""
    if row.document["code_digest"] != compute_study_code_digest():
        raise Conflict(
            "The study is of code {digest}, and this plane has other code.",
            digest=row.document["code_digest"][:12],
            code="code_differs",
            field="code",
            limit=compute_study_code_digest(),
            hint=N_("Install the release of the coordinator's plane, or ask for a study of this one."),
        )


def accept_approval(*, actor: Actor, site_study: SiteStudy, approval: Approval) -> None:
    """What the last vote lets happen: the site may join."""
    require(actor, "approval.decide", approval)
    require_confirmed(actor, "approval.decide", project_id=approval.project_id)
    with transaction.atomic():
        row = lock_site_study(site_study, (S.IMPORTED, S.VOID))
        change_state(row, S.APPROVED, actor=actor, digests={"facts": approval.facts_digest}, approval_id=approval.pk)


# -- taking part ----------------------------------------------------------------------------------------------------
def join_study(*, actor: Actor, site_study: SiteStudy, proxy: str = "") -> SiteStudy:
    """Queue the job that trains here and sends updates. What was approved is compared again first.

    `proxy`: HOST:PORT of the site's own HTTP proxy. Raises Conflict `approval_void` (it is void now, and the error
    names what has changed), `no_certificate`, `study_state`, Invalid for the proxy.
    """
    require(actor, "federation.join_study", site_study)
    require(actor, "job.submit", site_study)
    fault: PlaneError | None = None
    with transaction.atomic(durable=True):  # durable: a void must not roll back with the error that it raises
        row = lock_site_study(site_study, (S.APPROVED,))
        if row.approval is None or row.data is None:
            raise Conflict("The site was not approved.", code="study_state", field="approval")
        if changes := find_changes(row.approval):
            fault = build_void_error(changes)
            change_state(row, S.VOID, actor=actor, reason=fault.message)
            notify_site_void(row, actor)
        elif not row.certificate:
            fault = Conflict(
                "The coordinator has not certified this site yet.",
                code="no_certificate",
                field="certificate",
                hint=N_("Send the enrolment request to the coordinator, and import the certificate that comes back."),
            )
        else:
            job = submit_site_job(actor, row, row.data, proxy)
            digests = {"study": row.digest, "data": row.data.digest, "facts": row.approval.facts_digest}
            change_state(row, S.RUNNING, actor=actor, digests=digests, job_id=job.pk)
    if fault is not None:
        raise fault
    return row


def submit_site_job(actor: Actor, row: SiteStudy, data: DatasetVersion, proxy: str) -> Job:
    host = f"[{row.host}]" if ":" in row.host else row.host
    spec: dict[str, Any] = {"study": row.document, "site": row.site, "server": f"{host}:{row.port}", "proxy": proxy}
    table = get_single_table(actor, data)
    submission = Submission(
        kind=SITE_KIND,
        spec=spec,
        inputs=[InputSpec(slot=DATA_SLOT, digest=table.artifact_id)],
        name=f"{row.name}: {row.site}"[:120],
    )
    return submit_job(actor=actor, project=row.project, submission=submission)[0]


def leave_study(*, actor: Actor, site_study: SiteStudy, reason: str = "") -> SiteStudy:
    """Leave for good, at any time: the job is cancelled, and its keys are given to no other."""
    require(actor, "federation.leave_study", site_study)
    with lock_job_of(site_study):
        row = lock_site_study(site_study, tuple(set(S) - set(ENDED_SITE_STUDY)))
        change_state(row, S.LEFT, actor=actor, reason=reason[:500], ended_at=timezone.now())
        notify_site_ended(row, actor)
        left = Message("{actor_label} left the study.", actor_label=actor.label)
        void_waiting_requests(row, left)
        end_job(row.job, left)
    return row


def complete_site_study(*, actor: Actor, job: Job, result: Mapping[str, Any]) -> SiteStudy | None:
    """The end of the job by which this site took part; None for a job that is of no study, or of one that was left."""
    require(actor, "federation.record", job)
    with transaction.atomic():
        rows = SiteStudy.objects.select_for_update(of=("self",)).select_related("project", "approval")
        row = rows.filter(job=job, state=S.RUNNING).first()
        if row is None:
            return None
        row.result = dict(result)
        row.save(update_fields=["result"])  # beside the audit trail, which keeps its digest
        digests = {"result": compute_digest(row.result)}
        change_state(row, S.COMPLETED, actor=actor, digests=digests, ended_at=timezone.now())
        notify_site_ended(row, actor)
    return row
