"""Pages of transfer: what leaves, what came in and waits in quarantine, and whose signatures count."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, PlaneError, Refused
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.services import publish_upload
from apps.platform.audit.queries import get_timeline
from apps.platform.audit.services import record
from apps.site.transfer import forms, presenters, queries, services
from apps.site.transfer.facts import parse_manifest
from apps.site.transfer.identity import get_identity
from apps.site.transfer.models import BundleSigner, IncomingBundle, OutgoingBundle
from apps.site.transfer.services.incoming import list_missing_volumes
from apps.site.transfer.states import IncomingState, OutgoingState, SignerState
from deepseek.bundles.signer_files import MAX_SIGNER_BYTES
from deepseek.bundles.spec import BundleManifest, PlaneRef, encode_inventory
from deepseek.messages import N_
from deepseek.signing.dsse import MAX_ENVELOPE_BYTES

STOPPED = (OutgoingState.FAILED, OutgoingState.CANCELLED)
MAX_ROWS = 50  # of each list on the overview; REST pages them all
OUTGOING_ACTS = {
    "retry": services.retry_bundle,
    "cancel": services.cancel_build,
    "remove": services.remove_bundle,
}
VOLUME_NAME = re.compile(r"volume-0*(\d{1,6})\.tar")


@require_safe
def show_overview(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/transfer: this plane's id, bundles in both directions, and signers."""
    actor, where = get_project_context(request, project)
    outgoing = list(queries.list_outgoing(actor, where).defer("manifest").order_by("-pk")[:MAX_ROWS])
    received = queries.list_incoming(actor, where).defer("manifest", "envelope", "preview")
    incoming = list(received.order_by("-pk")[:MAX_ROWS])
    context = {
        "nav": "models",
        "identity": get_identity(),
        "outgoing": [(row, presenters.OUTGOING_COLOURS[OutgoingState(row.state)]) for row in outgoing],
        "incoming": [(row, presenters.INCOMING_COLOURS[IncomingState(row.state)]) for row in incoming],
        "signers": list_signer_rows(actor, where),
        "may_build": is_allowed(actor, "bundle.build", where),
        "may_receive": is_allowed(actor, "bundle.receive", where),
        "may_propose": is_allowed(actor, "bundle_signer.propose", where),
    }
    return render(request, "transfer/overview.html", context)


def list_signer_rows(actor: Actor, where: Project) -> list[dict[str, Any]]:
    rows: list[BundleSigner] = list(queries.list_signers(actor, where).order_by("-pk")[:MAX_ROWS])
    return [
        {
            "signer": row,
            "colour": presenters.SIGNER_COLOURS[SignerState(row.state)],
            "is_expired": row.expires_at is not None and row.expires_at <= timezone.now(),
            "may_revoke": row.state != SignerState.REVOKED and is_allowed(actor, "bundle_signer.revoke", where),
        }
        for row in rows
    ]


@require_safe
def download_inventory(request: HttpRequest, project: str) -> HttpResponse:
    """What this plane has, for the plane that builds a bundle for it."""
    actor, where = get_project_context(request, project)
    digests = queries.list_inventory_digests(actor, where)
    content = encode_inventory(get_identity(), timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ"), digests)
    record(actor=actor, action="bundle.export_inventory", obj=where, after={"digests": len(digests)})
    disposition = {"Content-Disposition": 'attachment; filename="inventory.json"'}
    return HttpResponse(content, content_type="application/json", headers=disposition)


# -- outgoing -------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def show_build(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/transfer/build"""
    actor, where = get_project_context(request, project)
    form = forms.BuildForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            inventory: UploadedFile = form.cleaned_data["inventory"]
            published = publish_upload(actor=actor, project=where, stream=inventory.chunks(), name="inventory.json")
            bundle = services.request_bundle(
                actor=actor,
                project=where,
                contents=form.list_contents(),
                inventory=published.artifact.digest,
                volume_bytes=form.cleaned_data["volume_megabytes"] * forms.MEGABYTE,
            )
        except (Refused, NotFound):
            raise
        except PlaneError as error:
            forms.show_fault(form, error, {"volume_bytes": "volume_megabytes"})
        else:
            return redirect("transfer:outgoing", project=where.slug, pk=bundle.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "transfer/build.html", {"nav": "models", "form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def show_outgoing(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/transfer/outgoing/<number>; POST with `op`: retry, cancel, remove."""
    actor, where = get_project_context(request, project)
    bundle = queries.get_outgoing(actor, where, pk)
    if request.method == "POST":
        act = OUTGOING_ACTS.get(request.POST.get("op", ""))
        try:
            if act is not None:
                act(actor=actor, bundle=bundle)
        except (Refused, NotFound):
            raise
        except PlaneError as error:
            messages.error(request, translate_error(error))
        return redirect("transfer:outgoing", project=where.slug, pk=pk)
    manifest = BundleManifest.parse(bundle.manifest.encode()) if bundle.manifest else None
    may_build = is_allowed(actor, "bundle.build", where)
    context = {
        "nav": "models",
        "bundle": bundle,
        "colour": presenters.OUTGOING_COLOURS[OutgoingState(bundle.state)],
        "manifest": manifest,
        "may_download": is_allowed(actor, "artifact.view", where),
        "step": presenters.describe_step(bundle) if bundle.state == OutgoingState.QUEUED else None,
        "progress_url": reverse("transfer:outgoing-progress", args=[where.slug, bundle.pk]),
        "may_retry": may_build and (bundle.state in STOPPED or bundle.retry_at is not None),
        "may_cancel": may_build and bundle.state == OutgoingState.QUEUED,
        "may_remove": may_build and bundle.state in (OutgoingState.BUILT, *STOPPED),
        "events": get_timeline(actor, "outgoingbundle", bundle.pk, limit=10),
    }
    return render(request, "transfer/outgoing.html", context)


@require_safe
def show_outgoing_progress(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """The part of a bundle's page that renews itself while it is built; at the end the page is loaded anew."""
    actor, where = get_project_context(request, project)
    bundle = queries.get_outgoing(actor, where, pk)
    return render_step(request, bundle, bundle.state == OutgoingState.QUEUED)


@require_safe
def show_incoming_progress(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """The same while a received bundle is checked or loaded."""
    actor, where = get_project_context(request, project)
    bundle = queries.get_incoming(actor, where, pk)
    return render_step(request, bundle, bundle.state in queries.WAITING)


def render_step(request: HttpRequest, bundle: OutgoingBundle | IncomingBundle, goes_on: bool) -> HttpResponse:
    context = {"step": presenters.describe_step(bundle), "progress_url": request.path}
    answer = render(request, "transfer/progress.html", context)
    if not goes_on:
        answer["HX-Refresh"] = "true"
    return answer


# -- incoming -------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def show_receive(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/transfer/receive"""
    actor, where = get_project_context(request, project)
    form = forms.ReceiveForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            document = read_envelope(form.cleaned_data["envelope"])
            bundle = services.receive_envelope(actor=actor, project=where, document=document)
        except (Refused, NotFound):
            raise
        except PlaneError as error:
            forms.show_fault(
                form, error, dict.fromkeys(["", "signatures", "target", "sequence", "payload"], "envelope")
            )
        else:
            return redirect("transfer:incoming", project=where.slug, pk=bundle.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "transfer/receive.html", {"nav": "models", "form": form}, status=status)


def read_envelope(file: UploadedFile) -> Any:
    text = file.read(MAX_ENVELOPE_BYTES + 1)
    try:
        if len(text) > MAX_ENVELOPE_BYTES:
            raise ValueError
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(
            "The file is no bundle.dsse.json.",
            code="document_malformed",
            field="/envelope",
            limit=f"JSON of at most {MAX_ENVELOPE_BYTES} bytes",
            hint=N_("Choose bundle.dsse.json of the folder that was carried in."),
        ) from None


@require_http_methods(["GET", "HEAD", "POST"])
def show_incoming(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/transfer/incoming/<number>; POST with `op`: volume, check, cancel, retry, accept, apply, discard."""
    actor, where = get_project_context(request, project)
    bundle = queries.get_incoming(actor, where, pk)
    form: django_forms.Form | None = None
    if request.method == "POST":
        try:
            form = forms.VolumeForm(request.POST, request.FILES) if request.POST.get("op") == "volume" else None
            if form is None or form.is_valid():
                return act_on_incoming(request, actor, bundle, form)
        except (Refused, NotFound):
            raise
        except PlaneError as error:
            if form is not None:
                forms.show_fault(form, error, {"number": "volume", "content-length": "volume"})
            else:
                messages.error(request, translate_error(error))
                return redirect("transfer:incoming", project=where.slug, pk=pk)
    return render_incoming(request, actor, where, bundle, form)


def act_on_incoming(
    request: HttpRequest, actor: Actor, bundle: IncomingBundle, form: django_forms.Form | None
) -> HttpResponse:
    op, slug = request.POST.get("op"), bundle.project.slug
    if form is not None:
        file: UploadedFile = form.cleaned_data["volume"]
        match = VOLUME_NAME.fullmatch(file.name or "")
        number = int(match[1]) if match else 0
        services.receive_volume(actor=actor, bundle=bundle, number=number, stream=file.chunks())
        messages.success(request, _("Volume %(number)s is in quarantine.") % {"number": number})
    elif op == "check":
        services.request_check(actor=actor, bundle=bundle)
    elif op == "cancel":
        services.cancel_step(actor=actor, bundle=bundle)
    elif op == "retry":
        services.retry_step(actor=actor, bundle=bundle)
    elif op == "accept":
        services.accept_plane_contents(actor=actor, bundle=bundle, reason=request.POST.get("reason", "")[:500])
    elif op == "apply":
        approval = services.request_application(actor=actor, bundle=bundle, comment=request.POST.get("comment", ""))
        return redirect("approvals:detail", project=slug, pk=approval.pk)
    elif op == "discard":
        services.discard_bundle(actor=actor, bundle=bundle, reason=request.POST.get("reason", "")[:500])
        return redirect("transfer:overview", project=slug)
    return redirect("transfer:incoming", project=slug, pk=bundle.pk)


def render_incoming(
    request: HttpRequest, actor: Actor, where: Project, bundle: IncomingBundle, form: django_forms.Form | None
) -> HttpResponse:
    manifest, state = parse_manifest(bundle), IncomingState(bundle.state)
    receives = state in (IncomingState.RECEIVING, IncomingState.REFUSED)
    missing = list_missing_volumes(bundle, manifest) if receives else []
    may_receive = is_allowed(actor, "bundle.receive", where)
    pending = Approval.objects.visible_to(actor).filter(
        project=where, subject_type="bundle", subject_id=str(bundle.pk), state=ApprovalState.PENDING
    )
    may_accept = is_allowed(actor, "bundle.accept_plane_contents", where)
    checked = state == IncomingState.CHECKED
    needs_acceptance = bundle.plane_contents and not bundle.accepted_by
    context = {
        "nav": "models",
        "bundle": bundle,
        "colour": presenters.INCOMING_COLOURS[state],
        "sentence": presenters.describe_next_step(bundle, missing),
        "manifest": manifest,
        "missing": missing,
        "preview_rows": presenters.list_preview_rows(bundle),
        "form": (form or forms.VolumeForm()) if receives and may_receive else None,
        "may_check": may_receive and ((receives and not missing) or checked),
        "step": presenters.describe_step(bundle) if state in queries.WAITING else None,
        "progress_url": reverse("transfer:incoming-progress", args=[where.slug, bundle.pk]),
        "may_cancel": state in queries.WAITING and is_allowed(actor, "bundle.cancel", where),
        "may_retry": state in queries.WAITING and bundle.retry_at is not None and may_receive,
        "may_discard": (receives or checked) and is_allowed(actor, "bundle.discard", where),
        "may_accept": checked and needs_acceptance and may_accept,
        "needs_acceptance": checked and needs_acceptance,
        "may_apply": checked and is_allowed(actor, "bundle.request_application", where) and not needs_acceptance,
        "approval": pending.first(),
        "events": get_timeline(actor, "incomingbundle", bundle.pk, limit=10),
    }
    return render(request, "transfer/incoming.html", context, status=422 if form is not None else 200)


# -- signers --------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def show_signers(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/transfer/signers: propose a key."""
    actor, where = get_project_context(request, project)
    trusted = queries.list_signers(actor, where).filter(state=SignerState.TRUSTED).order_by("-pk")
    form = forms.SignerForm(request.POST or None, request.FILES or None, signers=trusted)
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        try:
            source = read_source(fields["source_id"], fields["source_name"])
            document = fields["signer"].read(MAX_SIGNER_BYTES + 1).decode("utf-8", "replace")
            _signer, approval = services.propose_signer(
                actor=actor,
                project=where,
                source=source,
                document=document,
                comment=fields["comment"],
                valid_days=fields["valid_days"],
                replaces=fields["replaces"],
            )
        except (Refused, NotFound):
            raise
        except PlaneError as error:
            forms.show_fault(form, error, {"public_key": "signer", "fingerprint": "signer", "person": "signer"})
        else:
            return redirect("approvals:detail", project=where.slug, pk=approval.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "transfer/signers.html", {"nav": "models", "form": form}, status=status)


def read_source(id: str, name: str) -> PlaneRef:
    if not re.fullmatch(r"[0-9a-f]{32}", id.strip()):
        raise Invalid(
            "{id!r} is not the id of a plane.",
            id=id[:60],
            code="bad_plane_id",
            field="source_id",
            limit=N_("32 hex digits in lower case"),
            hint=N_("The page Transfer of the source shows it."),
        )
    return PlaneRef(id.strip(), name.strip())


@require_POST
def revoke_signer(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    signer = queries.get_signer(actor, where, pk)
    try:
        services.revoke_signer(actor=actor, signer=signer, reason=request.POST.get("reason", ""))
    except (Refused, NotFound):
        raise
    except PlaneError as error:
        messages.error(request, translate_error(error))
    else:
        messages.success(request, _("The key of %(person)s counts no more.") % {"person": signer.person})
    return redirect("transfer:overview", project=where.slug)
