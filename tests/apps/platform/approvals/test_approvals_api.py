from datetime import UTC, datetime, timedelta

from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.canonical import compute_digest
from apps.platform.accounts.models import Membership, ServiceAccount
from apps.platform.approvals.models import Approval, Vote
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import FACTS, carried_out

LIST = "/api/v1/projects/demo/approvals"


def at(approval, act=""):
    return f"{LIST}/{approval.pk}{act}"


def body(approval, **more):
    return {"facts_digest": approval.facts_digest, "reason": "Clean for 18 days.", **more}


def error(answer):
    return answer.json()["error"]


# -- reading --------------------------------------------------------------------------------------------------------
def test_the_list_narrows_by_state_and_to_what_waits_for_me(ask, decide, approver, api, viewer):
    first, second = ask(subject_id=1), ask(subject_id=2)
    decide(approver, first)
    client = api(approver)
    assert [row["id"] for row in client.get(LIST).json()["items"]] == [second.pk, first.pk]
    assert [row["id"] for row in client.get(f"{LIST}?state=approved").json()["items"]] == [first.pk]
    assert [row["id"] for row in client.get(f"{LIST}?state=decided").json()["items"]] == [first.pk]
    assert [row["id"] for row in client.get(f"{LIST}?mine=1").json()["items"]] == [second.pk]
    assert api(viewer).get(f"{LIST}?mine=1").json()["items"] == []


def test_days_narrow_the_list_beside_its_state(ask, decide, approver, api):
    asked = [ask(subject_id=number) for number in range(3)]
    for day, approval in enumerate(asked, start=2):
        Approval.objects.filter(pk=approval.pk).update(created_at=datetime(2026, 3, day, 12, tzinfo=UTC))
    decide(approver, asked[1])
    items = api(approver).get(f"{LIST}?asked_after=2026-03-03&asked_before=2026-03-04").json()["items"]
    assert [row["id"] for row in items] == [asked[2].pk, asked[1].pk]
    [left] = api(approver).get(f"{LIST}?asked_after=2026-03-03&state=pending").json()["items"]
    assert left["id"] == asked[2].pk


def test_an_invalid_filter_is_named(ask, api, approver):
    client = api(approver)
    for query in ("state=nonsense", "mine=yes", "asked_after=soon", "asked_before=soon"):
        answer = client.get(f"{LIST}?{query}")
        assert (answer.status_code, error(answer)["field"]) == (422, query.partition("=")[0])


def test_one_approval_has_its_facts_and_their_digest(ask, api, approver):
    approval = ask(comment="Better.")
    shown = api(approver).get(at(approval)).json()
    assert shown["facts"] == FACTS
    assert shown["facts_digest"] == compute_digest(shown["facts"])
    assert (shown["votes"], shown["changes"], shown["waits_for_me"]) == ([], [], True)
    assert (shown["needed"], shown["given"], shown["comment"]) == (1, 0, "Better.")
    assert shown["links"] == {"self": at(approval), "page": f"/p/demo/approvals/{approval.pk}", "subject": "/things/7"}


def test_it_says_what_has_changed_since_it_was_asked_for(ask, api, approver, subject):
    approval = ask()
    subject.facts["version"] = 4
    del subject.facts["files"]
    changes = api(approver).get(at(approval)).json()["changes"]
    assert changes == [{"path": "/files", "was": ["model", "manifest"]}, {"path": "/version", "was": 3, "is": 4}]
    assert Approval.objects.get().state == "pending"


def test_strangers_find_nothing(ask, api, stranger):
    approval = ask()
    assert api(stranger).get(at(approval)).status_code == 404
    assert api(stranger).get(LIST).status_code == 404


def test_an_approval_of_another_project_is_not_found_here(ask, api, approver, other_project):
    approval = ask()
    Approval.objects.update(project=other_project)
    assert api(approver).get(at(approval)).status_code == 404
    assert api(approver).post(at(approval, "/approve"), body(approval)).status_code == 404


def test_the_auditor_reads_those_of_every_project_and_is_recorded(ask, web, auditor):
    approval = ask()
    client = web(auditor)
    assert client.get(LIST).status_code == 200
    assert client.get(at(approval)).json()["facts"] == FACTS
    read = AuditRecord.objects.filter(action="approval.view", actor="auditor").order_by("pk")
    assert [row.object_id for row in read] == ["", str(approval.pk)]


# -- voting with a token --------------------------------------------------------------------------------------------
def test_a_token_of_the_person_decides(ask, api, approver):
    approval = ask()
    answer = api(approver).post(at(approval, "/approve"), body(approval))
    assert answer.status_code == 200, answer.json()
    shown = answer.json()
    assert (shown["state"], shown["given"], carried_out()) == ("approved", 1, 1)
    assert [(vote["person"], vote["method"], vote["counts"]) for vote in shown["votes"]] == [
        ("approver", "token", True)
    ]


def test_a_rejection_ends_it(ask, api, approver):
    approval = ask()
    shown = api(approver).post(at(approval, "/reject"), body(approval)).json()
    assert (shown["state"], shown["votes"][0]["decision"]) == ("rejected", "reject")


def test_a_token_without_the_scope_does_not(ask, api, approver, make_token):
    approval = ask()
    secret, _token = make_token(approver, scopes=["read"])
    answer = api(secret).post(at(approval, "/approve"), body(approval))
    assert (answer.status_code, error(answer)["code"]) == (403, "scope_missing")


def test_the_requester_is_refused_and_that_is_recorded(ask, api, approver, engineer, project):
    Membership.objects.create(project=project, user=engineer, role=ProjectRole.APPROVER)
    approval = ask()
    answer = api(engineer).post(at(approval, "/approve"), body(approval))
    assert (answer.status_code, error(answer)["code"]) == (403, "own_request")
    assert AuditRecord.objects.filter(action="approval.decide", result="refused", object_id=approval.pk).exists()


def test_a_service_account_is_refused(ask, api, project, make_token):
    account = ServiceAccount.objects.create(project=project, name="nightly")
    Membership.objects.create(project=project, service_account=account, role=ProjectRole.APPROVER)
    secret, _token = make_token(None, project, ["read", "approvals:decide"], service_account=account)
    approval = ask()
    answer = api(secret).post(at(approval, "/approve"), body(approval))
    assert (answer.status_code, error(answer)["code"]) == (403, "not_a_person")


def test_an_invalid_body_is_named(ask, api, approver):
    approval, client = ask(), api(approver)
    for more in ({"reason": ""}, {"reason": "x" * 2001}, {"facts_digest": ""}):
        answer = client.post(at(approval, "/approve"), body(approval, **more))
        assert (answer.status_code, error(answer)["field"]) == (422, f"/{next(iter(more))}"), more


def test_other_facts_than_those_seen(ask, api, approver):
    approval = ask()
    answer = api(approver).post(at(approval, "/approve"), body(approval, facts_digest="0" * 64))
    assert (answer.status_code, error(answer)["code"]) == (409, "facts_changed_since_you_looked")


def test_a_void_names_every_fact_and_is_kept(ask, api, approver, subject):
    approval = ask()
    subject.facts["version"] = 4
    subject.facts["figures"]["mae"] = 2
    client = api(approver)
    answer = client.post(at(approval, "/approve"), body(approval))
    assert (answer.status_code, error(answer)["code"]) == (409, "approval_void")
    assert [each["field"] for each in error(answer)["errors"][1:]] == ["/facts/figures/mae", "/facts/version"]
    shown = client.get(at(approval)).json()
    assert (shown["state"], shown["changes"]) == ("void", [])
    assert shown["void_changes"][1] == {"path": "/version", "was": 3, "is": 4}


def test_twice_and_too_late(two_needed, second, ask, api, approver):
    approval = ask()
    client = api(approver)
    client.post(at(approval, "/approve"), body(approval))
    assert error(client.post(at(approval, "/approve"), body(approval)))["code"] == "already_voted"
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    late = api(second).post(at(approval, "/approve"), body(approval))
    assert (late.status_code, error(late)["code"]) == (409, "deadline_passed")
    assert error(late)["limit"] in error(late)["message"]
    assert Approval.objects.get().state == "expired"


# -- voting by session ----------------------------------------------------------------------------------------------
def test_a_session_gives_the_password_again(ask, web, approver, password):
    approval = ask()
    client = web(approver)
    sent = {"content_type": "application/json"}
    missing = client.post(at(approval, "/approve"), body(approval), **sent)
    assert (missing.status_code, error(missing)["code"]) == (422, "password_missing")
    wrong = client.post(at(approval, "/approve"), body(approval, password="wrong"), **sent)
    assert (wrong.status_code, error(wrong)["field"]) == (422, "/password")
    assert not Vote.objects.exists()
    right = client.post(at(approval, "/approve"), body(approval, password=password), **sent)
    assert right.json()["votes"][0]["method"] == "password"


def test_guessing_the_password_locks_in_our_own_shape(ask, web, approver, password, settings):
    approval = ask()
    client = web(approver)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post(
            at(approval, "/approve"), body(approval, password="wrong"), content_type="application/json"
        )
    assert (answer.status_code, error(answer)["code"]) == (429, "account_locked")
    assert not Vote.objects.exists()


def test_a_session_without_the_csrf_token_decides_nothing(ask, web, approver, password):
    approval = ask()
    client = web(approver, csrf=True)
    answer = client.post(at(approval, "/approve"), body(approval, password=password), content_type="application/json")
    assert (answer.status_code, error(answer)["code"]) == (403, "csrf_failed")


# -- withdrawing ----------------------------------------------------------------------------------------------------
def test_who_asked_withdraws(ask, api, engineer, approver):
    approval = ask()
    assert api(approver).post(at(approval, "/withdraw"), {"reason": "No."}).status_code == 403
    assert api(engineer).post(at(approval, "/withdraw"), {}).status_code == 422
    shown = api(engineer).post(at(approval, "/withdraw"), {"reason": "Wrong version."}).json()
    assert shown["state"] == "withdrawn"


# -- policies -------------------------------------------------------------------------------------------------------
def test_the_security_administrator_sets_what_it_takes(project, web, api, secadmin, approver):
    where = "/api/v1/projects/demo/approval-policies"
    asked = {"needed": 2, "deadline_hours": 24, "reason": "Four eyes."}
    answer = web(secadmin).put(f"{where}/thing", asked, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    shown = {"subject_type": "thing", "label": "Thing", "needed": 2, "deadline_hours": 24, "is_default": False}
    assert api(approver).get(where).json()["items"] == [shown]


def test_no_token_and_nobody_else_does(project, web, api, approver):
    where = "/api/v1/projects/demo/approval-policies/thing"
    asked = {"needed": 2, "deadline_hours": 24}
    assert web(approver).put(where, asked, content_type="application/json").status_code == 403
    assert error(api(approver).put(where, asked))["code"] == "scope_missing"


def test_a_policy_of_nothing_or_out_of_range_is_named(project, web, secadmin):
    where = "/api/v1/projects/demo/approval-policies"
    client, sent = web(secadmin), {"content_type": "application/json"}
    unknown = client.put(f"{where}/nothing", {"needed": 2, "deadline_hours": 24}, **sent)
    assert (unknown.status_code, error(unknown)["code"]) == (422, "unknown_subject_type")
    wide = client.put(f"{where}/thing", {"needed": 11, "deadline_hours": 24}, **sent)
    assert (wide.status_code, error(wide)["field"]) == (422, "/needed")
