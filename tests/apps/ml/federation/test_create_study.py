"""Define a study, invite and enrol its sites, start and stop it."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.federation import exports, services
from apps.ml.federation.bundles import compute_code_digest
from apps.ml.federation.forms import StudyForm
from apps.ml.federation.models import Site, Study
from apps.ml.federation.queries import load_code
from apps.ml.federation.validation import is_host
from apps.platform.audit.models import AuditRecord
from deepseek.federated.code import compute_study_code_digest
from tests.apps.ml.federation.conftest import DOCUMENT, SCHEMA, edit

WITH_NUL = {
    **SCHEMA,
    "columns": [{"name": "sex", "kind": "category", "categories": ["0", "\0"]}, *SCHEMA["columns"][2:]],
}
pytestmark = pytest.mark.django_db


def test_a_study_has_a_document_its_code_and_an_authority(study):
    assert (study.state, study.document["name"], study.document["rounds"]) == ("draft", "heart", 3)
    assert study.document["code_digest"] == compute_study_code_digest()
    assert compute_code_digest(load_code(study.code)) == compute_study_code_digest()
    assert "PRIVATE" not in study.authority_key + study.server_key
    row = AuditRecord.objects.get(action="federation.create_study")
    assert json.loads(row.body)["digests"]["study"] == study.digest


def test_bad_fields_are_refused(actor, project, study):
    facts = {"actor": actor, "project": project, "name": "other", "host": "10.0.0.1", "port": 8102}
    cases = {
        "name": {"name": "A B"},
        "host": {"host": "a b"},
        "port": {"port": 0},
        "/document/rounds": {"document": {**DOCUMENT, "rounds": 0}},
        "/document/name": {"document": {**DOCUMENT, "name": "heart"}},
        "/document/code_digest": {"document": {**DOCUMENT, "code_digest": "0" * 64}},
        "/document/schema": {"document": {**DOCUMENT, "schema": WITH_NUL}},
        "/document/extra": {"document": {**DOCUMENT, "extra": 1}},
    }
    wrong = {}
    for field, changes in cases.items():
        with pytest.raises(Invalid) as caught:
            services.create_study(**{**facts, "document": DOCUMENT, **changes})
        if caught.value.field != field:
            wrong[field] = caught.value.field
    assert wrong == {}
    with pytest.raises(Conflict) as taken:
        services.create_study(**{**facts, "name": "heart", "document": DOCUMENT})
    assert taken.value.code == "name_taken"
    with pytest.raises(Conflict) as taken:
        services.create_study(**{**facts, "document": DOCUMENT})
    assert (taken.value.code, taken.value.field) == ("port_taken", "port")
    assert Study.objects.count() == 1


def test_a_study_that_has_ended_gives_its_port_back(actor, project, study, settings):
    settings.ENV = settings.ENV.model_copy(update={"federation_ports": [8102, 8103]})
    assert StudyForm().values["port"] == "8103"
    services.stop_study(actor=actor, study=study)
    assert StudyForm().values["port"] == "8102"
    facts = {"actor": actor, "project": project, "host": "10.0.0.1", "document": DOCUMENT}
    other = services.create_study(**facts, name="other", port=8102)
    Study.objects.filter(pk=study.pk).update(state="running")  # of before studies had ports of their own
    Study.objects.filter(pk=other.pk).update(state="open")
    with pytest.raises(Conflict) as taken:
        services.start_study(actor=actor, study=other)
    assert taken.value.code == "port_taken"


def test_a_host_with_a_colon_is_an_address():
    hosts = ("plane.example", "10.0.0.1", "fd00::1", "::1", "plane:8102", "fe80::1%eth0", "", "a b", "-a")
    assert [host for host in hosts if is_host(host)] == ["plane.example", "10.0.0.1", "fd00::1"]


def test_who_may_not(viewer, stranger, actor_for, project, study):
    facts = {"project": project, "name": "x", "host": "h", "port": 1, "document": DOCUMENT}
    with pytest.raises(Refused):
        services.create_study(actor=actor_for(viewer), **facts)
    with pytest.raises(NotFound):
        services.invite_site(actor=actor_for(stranger), study=study, name="x")
    with pytest.raises(Refused):
        exports.render_site_invitation(actor_for(viewer), Site(study=study))


def test_the_first_invitation_opens_the_study(actor, study, invite):
    text = invite()
    assert study.state == "open"
    assert "PRIVATE" not in text
    for name, code in (("cleveland", "site_taken"), ("server", "bad_name"), ("A b", "bad_name")):
        with pytest.raises((Conflict, Invalid)) as caught:
            services.invite_site(actor=actor, study=study, name=name)
        assert caught.value.code == code


def test_a_certificate_is_signed_for_the_site_that_asks(actor, study, imported, site_actor):
    site = study.sites.get()
    request = exports.render_site_request(site_actor, imported)
    cases = {
        "changed": edit(request, public_key="A" * 43 + "="),
        "of another site": edit(request, site="hungary"),
        "no JSON": "{",
        "more": edit(request, extra=1),
        "no request": edit(request, request="-----BEGIN CERTIFICATE REQUEST-----"),
    }
    accepted = []
    for name, content in cases.items():
        try:
            services.enrol_site(actor=actor, site=site, content=content)
        except Invalid:
            continue
        accepted.append(name)
    assert accepted == []
    site = services.enrol_site(actor=actor, site=site, content=request)
    assert (site.state, site.public_key, len(site.fingerprint)) == ("joined", imported.public_key, 64)
    with pytest.raises(Conflict):
        services.enrol_site(actor=actor, site=site, content=request)


def test_a_study_starts_with_enough_sites_and_stops_with_its_job(
    actor, study, invite, enrol, site_actor, other_project
):
    rows = []
    for name in ("cleveland", "hungary"):
        rows.append(services.import_study(actor=site_actor, project=other_project, content=invite(name)))
        with pytest.raises(Conflict) as caught:
            services.start_study(actor=actor, study=study)
        assert caught.value.code == "too_few_sites"
        enrol(rows[-1])
    Study.objects.update(host="fd00::1")
    with pytest.raises(Invalid) as caught:
        services.start_study(actor=actor, study=study, options={"round_seconds": -1})
    assert caught.value.field == "/spec/round_seconds"
    study = services.start_study(actor=actor, study=study)
    spec = json.loads(study.job.spec)
    assert (study.state, study.job.kind, spec["host"]) == ("running", "federation_server", "::")
    assert [site["public_key"] for site in spec["sites"]] == [row.public_key for row in rows]
    assert "PRIVATE" not in study.job.spec
    with pytest.raises(Conflict):
        services.invite_site(actor=actor, study=study, name="late")
    services.stop_study(actor=actor, study=study, reason="enough")
    study.job.refresh_from_db()
    assert (Study.objects.get().state, study.job.state) == ("stopped", "cancelled")
    with pytest.raises(Conflict):
        services.stop_study(actor=actor, study=study)


def test_a_site_is_removed_before_the_start(actor, study, imported, enrol):
    enrol(imported)
    site = services.remove_site(actor=actor, site=study.sites.get(), reason="withdrew")
    assert site.state == "left"
    with pytest.raises(Conflict) as caught:
        exports.render_site_invitation(actor, site)
    assert caught.value.code == "site_left"
