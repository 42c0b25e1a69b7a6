"""A site imports a study, binds data, has it approved, joins and leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused, TooLarge
from apps.ml.federation import exports, services
from apps.ml.federation.identity import load_job_identity
from apps.ml.federation.models import SiteStudy
from apps.platform.approvals.models import Approval
from apps.platform.jobs.services import retry_job
from deepseek.federated.spec import StudySpec, compute_study_digest
from tests.apps.ml.federation.conftest import ROWS, edit

pytestmark = [pytest.mark.django_db, pytest.mark.services]  # its locks and moves, on either database


def test_an_invitation_is_what_its_authority_signed(invite, site_actor, other_project):
    text = invite()
    facts = json.loads(text)
    document = {**facts["study"], "rounds": 9}
    forged = {**facts, "study": document, "digest": compute_study_digest(StudySpec.model_validate(document))}
    cases = {
        "another document": edit(text, study=document),
        "another document and digest": json.dumps(forged),
        "another address": edit(text, host="evil.example"),
        "other code": edit(text, code={**facts["code"], "spec.py": "print(1)"}),
        "a path": edit(text, code={"../x.py": ""}),
        "another schema": edit(text, schema="plane/x/v1"),
        "no JSON": text[:-9],
        "deep": "[" * 100_000,
        "bytes": b"\xff\xfe",
        "a NUL": edit(text, coordinator="\0"),
    }
    accepted = []
    for name, content in cases.items():
        try:
            services.import_study(actor=site_actor, project=other_project, content=content)
        except (Invalid, TooLarge):
            continue
        accepted.append(name)
    assert accepted == []
    with pytest.raises(TooLarge):
        services.import_study(actor=site_actor, project=other_project, content=" " * (2 * 2**20 + 1))
    row = services.import_study(actor=site_actor, project=other_project, content=text)
    assert (row.state, row.site, row.host) == ("imported", "cleveland", "127.0.0.1")
    assert "PRIVATE" not in row.key + row.ledger_key + exports.render_site_request(site_actor, row)
    with pytest.raises(Conflict):
        services.import_study(actor=site_actor, project=other_project, content=text)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("age,sex\n63,1\n", ["data/disease"]),
        ("age,sex,disease\nold,1,0\n", ["data/age"]),
        ("age,sex,disease\n63,male,yes\n64,female,no\n", ["data/sex", "data/disease"]),
        ("age,sex,disease\n630,1,0\n", ["data/age"]),
    ],
)
def test_data_that_does_not_fit_is_refused_by_column(imported, site_actor, other_project, add_table, text, columns):
    version = add_table(site_actor, other_project, text)
    with pytest.raises(Invalid) as caught:
        services.bind_data(actor=site_actor, site_study=imported, version=version)
    assert [error["field"] for error in caught.value.errors] == columns
    assert all(error["limit"] and error["hint"] for error in caught.value.errors)


def test_data_of_another_project_is_refused(imported, actor, site_actor, project, add_table):
    with pytest.raises(Invalid):
        services.bind_data(actor=site_actor, site_study=imported, version=add_table(actor, project))


def test_approved_it_joins_on_exactly_what_was_approved(approved, site_actor, worker_actor):
    assert (approved.state, approved.approval.state) == ("approved", "approved")
    facts = json.loads(approved.approval.facts)
    assert facts["study"]["digest"] == approved.digest
    assert facts["data"]["digest"] == approved.data.digest
    assert facts["privacy"]["epsilon"] == 4.0
    assert facts["model"]["update_bytes"] > 0
    row = services.join_study(actor=site_actor, site_study=approved)
    spec = json.loads(row.job.spec)
    assert (row.state, row.job.kind, spec["server"]) == ("running", "federation_site", "127.0.0.1:8102")
    identity = load_job_identity(actor=worker_actor, job=row.job)
    assert "PRIVATE KEY" in identity.key
    assert "PRIVATE" not in repr(identity)
    with pytest.raises(Conflict):
        services.join_study(actor=site_actor, site_study=row)


def test_other_data_voids_the_approval(approved, site_actor, other_project, add_table, decide):
    pending = None
    version = add_table(site_actor, other_project, ROWS + "50,1,1\n", "more")
    row = services.bind_data(actor=site_actor, site_study=approved, version=version)
    assert row.state == "void"
    with pytest.raises(Conflict):
        services.join_study(actor=site_actor, site_study=row)
    pending = services.request_participation(actor=site_actor, site_study=row)
    services.bind_data(actor=site_actor, site_study=row, version=add_table(site_actor, other_project))
    pending.refresh_from_db()
    assert pending.state == "void"
    decide(services.request_participation(actor=site_actor, site_study=row))
    assert SiteStudy.objects.get().state == "approved"


def test_a_digest_that_moved_voids_at_the_start(approved, site_actor, monkeypatch):
    monkeypatch.setattr("apps.ml.federation.facts.compute_study_code_digest", lambda: "0" * 64)
    with pytest.raises(Conflict) as caught:
        services.join_study(actor=site_actor, site_study=approved)
    assert (caught.value.code, caught.value.errors[1]["field"]) == ("approval_void", "/facts/code/installed")
    assert SiteStudy.objects.get().state == "void"


def test_what_is_missing_is_named(imported, site_actor, other_project, add_table, decide, monkeypatch):
    with pytest.raises(Conflict) as caught:
        services.request_participation(actor=site_actor, site_study=imported)
    assert caught.value.code == "no_data"
    version = add_table(site_actor, other_project)
    services.bind_data(actor=site_actor, site_study=imported, version=version)
    with monkeypatch.context() as patch:
        patch.setattr("apps.ml.federation.services.participation.compute_study_code_digest", lambda: "0" * 64)
        with pytest.raises(Conflict) as caught:
            services.request_participation(actor=site_actor, site_study=imported)
    assert caught.value.code == "code_differs"
    decide(services.request_participation(actor=site_actor, site_study=imported))
    with pytest.raises(Conflict) as caught:
        services.join_study(actor=site_actor, site_study=imported)
    assert (caught.value.code, SiteStudy.objects.get().state) == ("no_certificate", "approved")


def test_a_certificate_of_another_is_refused(imported, enrol, invite, site_actor, other_project, actor, study):
    other = services.import_study(actor=site_actor, project=other_project, content=invite("hungary"))
    enrol(other)
    text = exports.render_site_certificate(actor, study.sites.get(name="hungary"))
    for content in (text, edit(text, site="cleveland"), edit(text, site="cleveland", certificate="x"), "[]"):
        with pytest.raises(Invalid):
            services.store_certificate(actor=site_actor, site_study=imported, content=content)
    imported.refresh_from_db()
    assert imported.certificate == ""


def test_leaving_cancels_the_job_and_takes_its_keys(approved, site_actor, actor_for, doctor, worker_actor):
    row = services.join_study(actor=site_actor, site_study=approved)
    services.leave_study(actor=actor_for(doctor), site_study=row, reason="The ethics board asks.")
    row.job.refresh_from_db()
    assert (SiteStudy.objects.get().state, row.job.state) == ("left", "cancelled")
    job = retry_job(actor=site_actor, job=row.job)
    with pytest.raises(Conflict) as caught:
        load_job_identity(actor=worker_actor, job=job)
    assert caught.value.code == "not_in_study"
    with pytest.raises(Conflict):
        services.leave_study(actor=site_actor, site_study=row)


def test_leaving_ends_the_request_that_waits(imported, site_actor, other_project, add_table, decide):
    services.bind_data(actor=site_actor, site_study=imported, version=add_table(site_actor, other_project))
    pending = services.request_participation(actor=site_actor, site_study=imported)
    services.leave_study(actor=site_actor, site_study=imported)
    pending.refresh_from_db()
    assert pending.state == "void"


def test_tokens_choose_the_data_and_leave_by_their_own_scopes(imported, site_actor, other_project, add_table, doctor):
    version = add_table(site_actor, other_project)
    services.bind_data(
        actor=replace(site_actor, scopes=frozenset({"read", "data:write"})), site_study=imported, version=version
    )
    pending = services.request_participation(actor=site_actor, site_study=imported)
    services.leave_study(actor=replace(site_actor, scopes=frozenset({"read", "jobs:write"})), site_study=imported)
    pending.refresh_from_db()
    assert pending.state == "void"


def test_who_may_not(approved, actor, viewer, actor_for, doctor, worker_actor, other_project):
    acts = {
        "strangers": (actor, NotFound, lambda who: services.join_study(actor=who, site_study=approved)),
        "approvers": (actor_for(doctor), Refused, lambda who: services.join_study(actor=who, site_study=approved)),
        "viewers": (actor_for(viewer), NotFound, lambda who: services.leave_study(actor=who, site_study=approved)),
        "workers": (worker_actor, Refused, lambda who: services.leave_study(actor=who, site_study=approved)),
        "import": (
            actor_for(doctor),
            Refused,
            lambda who: services.import_study(actor=who, project=other_project, content=""),
        ),
    }
    wrong = {}
    for name, (who, kind, act) in acts.items():
        try:
            act(who)
        except PlaneError as fault:
            if type(fault) is not kind:
                wrong[name] = fault
        else:
            wrong[name] = "accepted"
    assert wrong == {}
    assert Approval.objects.count() == 1
