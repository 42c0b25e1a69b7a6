"""Federation over REST, and its pages: of the coordinator, of a site, and of the officer."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.ml.federation import services
from apps.ml.federation.models import SiteStudy, Study
from apps.platform.approvals.models import Approval
from apps.platform.audit.models import AuditRecord
from tests.apps.ml.federation.conftest import DOCUMENT, SCHEMA

pytestmark = pytest.mark.django_db


@pytest.fixture
def address(project, other_project):
    """address(name, *args, site=True) -> a page of the coordinator's project, or of the site's."""

    def build(name, *args, site=False):
        return reverse(f"federation:{name}", args=[(other_project if site else project).slug, *args])

    return build


def test_from_the_study_to_the_site_that_has_left(
    api, engineer, hospital, project, other_project, add_table, site_actor
):
    coordinator, site = api(engineer), api(hospital)
    here, there = f"/api/v1/projects/{project.slug}/", f"/api/v1/projects/{other_project.slug}/"
    body = {"name": "heart", "host": "127.0.0.1", "port": 8102, "document": DOCUMENT}
    made = coordinator.post(f"{here}studies", body, format="json")
    assert (made.status_code, made.json()["state"]) == (201, "draft")
    assert coordinator.post(f"{here}studies", body, format="json").status_code == 409
    study = f"{here}studies/{made.json()['id']}"
    assert "spec.py" in coordinator.get(f"{study}/code").json()["files"]
    assert coordinator.post(f"{study}/sites", {"name": "cleveland"}, format="json").status_code == 201
    invitation = coordinator.get(f"{study}/sites/cleveland/invitation").json()
    row = site.post(f"{there}site-studies", invitation, format="json")
    assert (row.status_code, row.json()["authority"]) == (201, made.json()["authority"])
    assert site.post(f"{there}site-studies", {"file": "{}"}, format="json").status_code == 422
    joined = f"{there}site-studies/{row.json()['id']}"
    assert coordinator.get(f"{study}/sites/cleveland/certificate").status_code == 409
    request = site.get(f"{joined}/request").json()
    assert coordinator.post(f"{study}/sites/cleveland/enrol", request, format="json").json()["state"] == "joined"
    certificate = coordinator.get(f"{study}/sites/cleveland/certificate").json()
    assert site.post(f"{joined}/certificate", certificate, format="json").json()["is_certified"]
    add_table(site_actor, other_project)
    assert site.post(f"{joined}/data", {"data": "patients"}, format="json").status_code == 422
    assert site.post(f"{joined}/data", {"data": "patients:v9"}, format="json").status_code == 404
    assert site.post(f"{joined}/data", {"data": "patients:v1"}, format="json").json()["data"] == "patients:v1"
    assert site.post(f"{joined}/join", {}, format="json").json()["error"]["code"] == "study_state"
    assert coordinator.post(f"{study}/start", {}, format="json").json()["error"]["code"] == "too_few_sites"
    assert coordinator.post(f"{study}/register", {"model": "x"}, format="json").status_code == 409
    assert site.get(f"{there}egress-ledger").json()["items"] == []
    assert site.get(f"{there}egress-ledger?since=x").status_code == 422
    assert site.get(f"{there}egress-ledger?site=%00").status_code == 200
    assert site.post(f"{joined}/leave", {"reason": "done"}, format="json").json()["state"] == "left"
    assert coordinator.get(joined).status_code == 404
    assert site.get(study).status_code == 404


def test_the_pages_of_the_coordinator(web, engineer, viewer, address, project):
    visitor = web(engineer)
    assert "Define one to invite sites" in visitor.get(address("list")).text
    form = {"name": "heart", "host": "127.0.0.1", "port": "8102", "schema": json.dumps(SCHEMA), "rounds": "3"}
    form |= {"minimum_sites": "2", "model": "mlp", "hidden": "8, 4", "normalization": "group", "algorithm": "fedavg"}
    bad = visitor.post(address("new"), {**form, "rounds": "0", "epsilon": "-1", "schema": "{"})
    assert (bad.status_code, "It is not JSON" in bad.text) == (422, True)
    bad = visitor.post(address("new"), {**form, "rounds": "0", "epsilon": "-1"})
    assert bad.status_code == 422
    assert bad.text.count('aria-invalid="true"') == 2
    made = visitor.post(address("new"), form)
    study = Study.objects.get()
    assert made.url == address("study", study.pk)
    assert (study.document["privacy"], study.document["model"]["hidden"]) == (None, [8, 4])
    visitor.post(address("invite", study.pk), {"name": "cleveland"})
    page = visitor.get(address("study", study.pk)).text
    assert all(text in page for text in ("0 of at least 2 sites have joined", "cleveland", "Download invitation"))
    answer = visitor.get(address("invitation", study.pk, "cleveland"))
    assert "heart-cleveland-invitation.json" in answer.headers["Content-Disposition"]
    assert web(viewer).get(address("invitation", study.pk, "cleveland")).status_code == 403
    assert "Remove this site?" in page  # for good, so it is asked first
    assert "Download invitation" not in web(viewer).get(address("study", study.pk)).text
    assert web(viewer).get(address("new")).status_code == 403


def test_the_pages_of_a_site(web, hospital, doctor, address, invite, other_project, add_table, site_actor):
    visitor = web(hospital)
    assert visitor.post(address("import", site=True), {}).status_code == 422
    upload = SimpleUploadedFile("x.json", invite().encode())
    made = visitor.post(address("import", site=True), {"file": upload})
    row = SiteStudy.objects.get()
    where = address("site_study", row.pk, site=True)
    assert made.url == where
    page = visitor.get(where).text
    assert all(
        text in page for text in ("Compare the fingerprint", "Data that leaves", "ledger_verifier.py", "127.0.0.1:8102")
    )
    add_table(site_actor, other_project)
    visitor.post(address("data", row.pk, site=True), {"data": "patients:v1"})
    assert "Request approval" in visitor.get(where).text
    visitor.post(address("approval", row.pk, site=True), {})
    approvals = reverse("approvals:list", args=[other_project.slug])
    assert "heart" in web(doctor).get(approvals).text
    approval = Approval.objects.get()
    shown = web(doctor).get(reverse("approvals:detail", args=[other_project.slug, approval.pk])).text
    assert all(text in shown for text in ("Data that leaves", "Approve, let this site join", "patients v1", "held-out"))
    assert "heart" in visitor.get(address("list", site=True)).text
    visitor.post(address("leave", row.pk, site=True), {"reason": "no"})
    assert "nothing more leaves" in visitor.get(where).text


def test_the_ledger_of_the_officer(web, auditor, stranger, address, imported, write_ledger, worker_actor, project):
    lines = write_ledger(imported, 2)
    services.record_ledger_entries(actor=worker_actor, site_study=imported, entries=lines)
    visitor = web(auditor)
    page = visitor.get(address("ledger", site=True)).text
    assert all(text in page for text in ("2 entries", "Chain verified: 2 entries", imported.public_key[:8]))
    assert "No entry fits" in visitor.get(address("ledger", site=True) + "?round=9").text
    file = visitor.get(address("ledger_file", imported.pk, site=True))
    assert len(b"".join(file.streaming_content).splitlines()) == 2
    assert AuditRecord.objects.filter(action="list.export", object_id="ledger").count() == 1
    assert "verify_chain" in visitor.get(address("verifier", site=True)).text
    assert visitor.get(address("ledger")).status_code == 200
    assert web(stranger).get(address("ledger")).status_code == 404


def test_the_officer_reads_what_left_all_projects(
    web, api, engineer, auditor, imported, write_ledger, worker_actor, other_project
):
    services.record_ledger_entries(actor=worker_actor, site_study=imported, entries=write_ledger(imported, 2))
    page, rest = reverse("plane_federation:ledger"), reverse("api-plane-egress-ledger")
    officer = web(auditor)
    assert page in officer.get(reverse("audit:list")).text
    shown = officer.get(page).text
    assert all(text in shown for text in ("2 entries", other_project.slug, "heart", "cleveland"))
    assert "No entry fits" in officer.get(f"{page}?project=none").text
    assert officer.get(f"{page}?since=x").status_code == 422
    file = officer.get(f"{page}?format=csv&kind=update")
    lines = b"".join(file.streaming_content).decode().splitlines()
    assert (len(lines), lines[1].split(",")[:3]) == (3, [other_project.slug, "heart", "cleveland"])
    assert AuditRecord.objects.filter(action="list.export", object_id="plane_ledger").count() == 1
    token = api(auditor)  # with audit:read
    assert [row["project"] for row in token.get(rest).json()["items"]] == [other_project.slug] * 2
    assert token.get(f"{rest}?project={other_project.slug}&round=1").json()["items"][0]["round"] == 1
    assert web(engineer).get(page).status_code == 403
    assert api(engineer).get(rest).status_code == 403


def test_a_page_is_a_few_queries(web, hospital, address, imported, django_assert_max_num_queries):
    visitor = web(hospital)
    visitor.get(address("site_study", imported.pk, site=True))
    with django_assert_max_num_queries(25):
        visitor.get(address("site_study", imported.pk, site=True))
