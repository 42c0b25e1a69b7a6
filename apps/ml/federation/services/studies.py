"""What the coordinator does: define a study, invite and enrol its sites, start and stop it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.canonical import encode_canonical_json
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.ml.federation.bundles import parse_enrolment_request, parse_study
from apps.ml.federation.certificates import (
    KeyTexts,
    compute_fingerprint,
    create_authority,
    create_server,
    sign_request,
)
from apps.ml.federation.key_cipher import decrypt_key, encrypt_key
from apps.ml.federation.models import Site, Study
from apps.ml.federation.notices import notify_study_ended
from apps.ml.federation.services.locks import lock_job_of
from apps.ml.federation.states import OPEN_STUDY, SiteState, StudyState
from apps.ml.federation.validation import check_address, check_site_name, check_slug, require_study_state
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_upload
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job, submit_job
from apps.platform.jobs.submission import Submission
from deepseek.federated.code import compute_study_code_digest, read_study_code
from deepseek.federated.spec import MAX_SITES, StudySpec, compute_study_digest
from deepseek.messages import N_, Message

SERVER_KIND = "federation_server"
EVERY_ADDRESS = "::"  # of the machine, IPv4 too


def create_study(
    *, actor: Actor, project: Project, name: str, host: str, port: int, document: Mapping[str, Any], strict: bool = True
) -> Study:
    """Define a study: its document, its code and its authority. Nothing of it changes afterwards.

    `host`, `port`: where sites reach its server. `document`: a StudySpec, in which the name and the digest of the
    code may be left out: they are the study's own and the installed engine's. Raises Invalid for what is wrong with
    them, Conflict `name_taken`, `port_taken`.
    """
    require(actor, "federation.create_study", project)
    check_slug("name", name)
    check_address(host, port)
    spec = parse_study({"name": name, "code_digest": compute_study_code_digest(), **document}, strict=strict)
    check_document(spec, name)
    digest = compute_study_digest(spec)
    authority = create_authority(digest)
    server = create_server(authority)
    code = store_code(actor, project, read_study_code())
    study = Study(
        project=project,
        name=name,
        document=spec.to_document(),
        digest=digest,
        code=code,
        host=host,
        port=port,
        authority_certificate=authority.certificate,
        authority_key=encrypt_key(authority.key),
        server_certificate=server.certificate,
        server_key=encrypt_key(server.key),
        created_by=actor.label[:200],
    )
    try:
        with transaction.atomic():
            study.save(force_insert=True)
            require_free_port(study, OPEN_STUDY)
            record(
                actor=actor,
                action="federation.create_study",
                obj=study,
                after={
                    "name": name,
                    "host": host,
                    "port": port,
                    "rounds": spec.rounds,
                    "privacy": spec.privacy is not None,
                },
                digests={
                    "study": digest,
                    "code": spec.code_digest,
                    "authority": compute_fingerprint(authority.certificate),
                },
            )
    except IntegrityError:
        raise Conflict(
            "There is a study {name!r} already.",
            name=name,
            code="name_taken",
            field="name",
            hint=N_("Choose another name."),
        ) from None
    return study


def require_free_port(study: Study, states: Collection[str]) -> None:
    """Raise Conflict `port_taken` where another study in one of the states, of any project, has the port: only one
    server can listen on it."""
    if Study.objects.filter(port=study.port, state__in=states).exclude(pk=study.pk).exists():
        raise Conflict(
            "Another study of this plane has the port {port}.",
            port=study.port,
            code="port_taken",
            field="port",
            limit=N_("a port for each study that has not ended"),
            hint=N_("Choose another one of FEDERATION_PORTS, or stop the study that has it."),
        )


def check_document(spec: StudySpec, name: str) -> None:
    """Raise Invalid for a document of another name or code. With its own name no two studies of a project have one
    digest: by it the workers keep their state, the sites their ledger."""
    if spec.name != name:
        raise Invalid(
            "The document is of the study {document_name!r}.",
            document_name=spec.name,
            code="name_differs",
            field="/document/name",
            limit=name,
            hint=N_("Leave it out: the name is the study's own."),
        )
    if spec.code_digest != compute_study_code_digest():
        raise Invalid(
            "This plane has no code with the digest {digest}.",
            digest=spec.code_digest,
            code="code_differs",
            field="/document/code_digest",
            limit=compute_study_code_digest(),
            hint=N_("Leave it out: the code is that of the installed engine."),
        )


def store_code(actor: Actor, project: Project, files: Mapping[str, str]) -> Artifact:
    """The artifact of a study's code: {file name: text}, JSON."""
    data = encode_canonical_json(dict(files)).encode()
    return publish_upload(
        actor=actor, project=project, stream=[data], name="study-code.json", media_type="application/json"
    ).artifact


# -- sites ----------------------------------------------------------------------------------------------------------
def invite_site(*, actor: Actor, study: Study, name: str) -> Site:
    """Name a site of the study, whose invitation can then be downloaded. With the first one the study is open.

    Raises Invalid for the name, Conflict `study_state`, `site_taken`, `too_many_sites`.
    """
    require(actor, "federation.invite_site", study)
    check_site_name(name)
    try:
        with transaction.atomic():
            row = lock_study(study, (StudyState.DRAFT, StudyState.OPEN))
            if row.sites.count() >= MAX_SITES:
                raise Conflict(
                    "{study} has {count} sites.",
                    study=row.name,
                    count=MAX_SITES,
                    code="too_many_sites",
                    limit=MAX_SITES,
                )
            site = Site.objects.create(study=row, name=name, invited_by=actor.label[:200])
            record(
                actor=actor,
                action="federation.invite_site",
                obj=site,
                after={"study": row.name, "site": name},
                digests={"study": row.digest},
            )
            if row.state == StudyState.DRAFT:
                change_state(row, StudyState.OPEN, actor=actor)
    except IntegrityError:
        raise Conflict(
            "{study} has a site {name!r} already.",
            study=study.name,
            name=name,
            code="site_taken",
            field="name",
            hint=N_("A site that has left is invited under another name."),
        ) from None
    return site


def enrol_site(*, actor: Actor, site: Site, content: bytes | str) -> Site:
    """Sign the certificate that a site requests, and keep the key that verifies its egress ledger.

    `content`: the enrolment request that was downloaded on the site's plane. Raises Invalid `bad_request_file`,
    TooLarge, Conflict `study_state`, `key_taken`, `illegal_move`.
    """
    require(actor, "federation.enrol_site", site)
    request = parse_enrolment_request(content, site)
    study = site.study
    authority = KeyTexts(study.authority_certificate, decrypt_key(study.authority_key))
    certificate = sign_request(authority, site.name, request.request)
    fingerprint = compute_fingerprint(certificate)
    with transaction.atomic():
        lock_study(study, (StudyState.OPEN,))
        if study.sites.exclude(pk=site.pk).filter(public_key=request.public_key).exists():
            raise Conflict(
                "Another site of {study} has this key.",
                study=study.name,
                code="key_taken",
                field="file",
                hint=N_("Each site imports an invitation of its own."),
            )
        return change_state(
            site,
            SiteState.JOINED,
            actor=actor,
            digests={"certificate": fingerprint},
            certificate=certificate,
            fingerprint=fingerprint,
            public_key=request.public_key,
            joined_at=timezone.now(),
        )


def remove_site(*, actor: Actor, site: Site, reason: str = "") -> Site:
    """Take a site out of a study that does not run. Raises Conflict `study_state`, `illegal_move`."""
    require(actor, "federation.remove_site", site)
    with transaction.atomic():
        lock_study(site.study, (StudyState.OPEN,))
        return change_state(site, SiteState.LEFT, actor=actor, reason=reason[:500])


def lock_study(study: Study, states: tuple[str, ...]) -> Study:
    """The study as it is now, locked. Raises Conflict `study_state`."""
    row = Study.objects.select_for_update().select_related("project").get(pk=study.pk)
    require_study_state(row, states)
    return row


# -- the run --------------------------------------------------------------------------------------------------------
def start_study(*, actor: Actor, study: Study, options: Mapping[str, Any] | None = None) -> Study:
    """Queue the job that serves the study to the sites that have joined.

    `options`: of FederationServerSpec, such as round_seconds. Raises Conflict `study_state`, `too_few_sites`,
    `port_taken` while another study runs on the port, Invalid for the options.
    """
    require(actor, "federation.start_study", study)
    require(actor, "job.submit", study)
    with transaction.atomic():
        # All that have the port, in one order: of two that are started at once, the second one sees the first.
        list(Study.objects.select_for_update().filter(port=study.port, state__in=OPEN_STUDY).order_by("pk"))
        row = lock_study(study, (StudyState.OPEN,))
        require_free_port(row, (StudyState.RUNNING,))
        sites = list(row.sites.filter(state=SiteState.JOINED).order_by("name"))
        least = row.document["minimum_sites"]
        if len(sites) < least:
            raise Conflict(
                "{study} needs {limit_sites} sites, and {count} have joined.",
                study=row.name,
                limit_sites=least,
                count=len(sites),
                code="too_few_sites",
                limit=least,
                hint=N_("Enrol more sites first."),
            )
        spec = {
            **(options or {}),
            **({"host": EVERY_ADDRESS} if ":" in row.host else {}),  # the default is IPv4 alone
            "study": row.document,
            "sites": [{"name": site.name, "public_key": site.public_key} for site in sites],
            "port": row.port,
        }
        submission = Submission(kind=SERVER_KIND, spec=spec, name=f"{row.name}: server"[:120])
        job = submit_job(actor=actor, project=row.project, submission=submission)[0]
        digests = {"study": row.digest}
        return change_state(
            row, StudyState.RUNNING, actor=actor, digests=digests, job_id=job.pk, started_at=timezone.now()
        )


def stop_study(*, actor: Actor, study: Study, reason: str = "") -> Study:
    """End a study for good; the job that serves it is cancelled."""
    require(actor, "federation.stop_study", study)
    with lock_job_of(study):
        row = lock_study(study, (StudyState.DRAFT, StudyState.OPEN, StudyState.RUNNING))
        change_state(row, StudyState.STOPPED, actor=actor, reason=reason[:500], ended_at=timezone.now())
        notify_study_ended(row, actor)
        end_job(row.job, Message("{actor_label} stopped the study.", actor_label=actor.label))
    return row


def end_job(job: Job | None, reason: str) -> None:
    """Cancel the job of a study that has ended, which whoever ends a study may, in the name of the plane.

    In the transaction that ends the study: a process that dies between the two must not leave a job that goes on.
    """
    if job is None:
        return
    try:
        cancel_job(actor=build_plane_actor(PlaneRole.DISPATCHER), job=job, reason=reason)
    except Conflict as fault:
        if fault.code != "already_ended":
            raise


def read_document(text: str) -> dict[str, Any]:
    """The JSON of a study document that somebody typed. Raises Invalid."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise Invalid(
            "It is not JSON: {reason}.",
            reason=str(fault)[:200],
            code="not_json",
            field="document",
            hint=N_("Write the study as a JSON object."),
        ) from None
    if not isinstance(document, dict):
        raise Invalid("The study is no JSON object.", code="not_json", field="document", limit=N_("a JSON object"))
    return document
