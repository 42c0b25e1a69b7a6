"""The files that people carry between planes, as downloads."""

from __future__ import annotations

from django.http import HttpResponse

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.ml.federation.bundles import render_certificate, render_enrolment_request, render_invitation
from apps.ml.federation.certificates import KeyTexts
from apps.ml.federation.key_cipher import decrypt_key
from apps.ml.federation.models import Site, SiteStudy
from apps.ml.federation.queries import load_code
from apps.ml.federation.states import SiteState
from deepseek.messages import N_


def render_site_invitation(actor: Actor, site: Site) -> str:
    """The invitation of a site. Raises Conflict `site_left`."""
    require(actor, "federation.invite_site", site)
    if site.state == SiteState.LEFT:
        raise Conflict(
            "The site {site} has left.", site=site.name, code="site_left", field="state", hint=N_("Invite it anew.")
        )
    study = site.study
    authority = KeyTexts(study.authority_certificate, decrypt_key(study.authority_key))
    coordinator = f"{study.project.slug}: {study.created_by}"
    return render_invitation(study, site, load_code(study.code), authority, coordinator)


def render_site_certificate(actor: Actor, site: Site) -> str:
    """The certificate of a site that has joined. Raises Conflict `not_enrolled`."""
    require(actor, "federation.view", site)
    if not site.certificate:
        raise Conflict(
            "The site {site} has no certificate yet.",
            site=site.name,
            code="not_enrolled",
            field="state",
            hint=N_("Import its enrolment request first."),
        )
    return render_certificate(site)


def render_site_request(actor: Actor, site_study: SiteStudy) -> str:
    """The request for the certificate of this site, signed by the key of its ledger."""
    require(actor, "federation.import_study", site_study)
    return render_enrolment_request(site_study, decrypt_key(site_study.ledger_key))


def build_download(text: str, name: str, content_type: str = "application/json") -> HttpResponse:
    """`name`: of parts that were validated as slugs; else the header would carry what somebody typed."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(text, content_type=f"{content_type}; charset=utf-8", headers=headers)
