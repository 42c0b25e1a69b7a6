from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.errors import Invalid, Refused
from apps.platform.access_history.presenters import (
    describe_access,
    describe_emergency,
    describe_proof,
    describe_roles,
    describe_system_role,
    merge_cell,
)
from apps.platform.access_history.queries import NAMES, build_answers, parse_question, search_accounts
from apps.platform.accounts.models import ApiToken, Membership, Project, User
from apps.platform.accounts.services import (
    confirm_credentials,
    create_project,
    create_service_account,
    create_token,
    create_token_for_service_account,
    create_user,
    disable_service_account,
    disable_user,
    enable_user,
    remove_member,
    revoke_token,
    set_clearance,
    set_member_roles,
    set_project_label,
    set_system_role,
)
from apps.platform.accounts.services.expiry import set_account_expiry
from apps.platform.audit.models import AuditRecord
from apps.platform.emergency.services import confirm_grant, end_grant, request_grant
from apps.platform.recertification.services import decide_grants, start_campaign

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast(clock, secadmin, sysadmin, auditor, actor_for):
    """Security administrator, system administrator and auditor as actors; a project of the first of March."""
    clock("03-01 08:00")
    User.objects.update(created_at=clock("03-01 08:00"))
    admins = {each.username: actor_for(each) for each in (secadmin, sysadmin, auditor)}
    return {**admins, "project": create_project(actor=admins["sysadmin"], slug="wheat")}


@pytest.fixture
def create_person(cast):
    def create(username: str) -> User:
        user, _password = create_user(actor=cast["sysadmin"], username=username)
        User.objects.filter(pk=user.pk).update(must_change_password=False)
        user.refresh_from_db()
        return confirm_credentials(actor=cast["secadmin"], user=user)

    return create


@pytest.fixture
def ask(cast, clock):
    """ask(describe, on=..., ...) -> {holder: cell} at the end of the year."""

    def run(describe=describe_roles, **params):
        clock("12-31 12:00")
        actor = cast["auditor"]
        question = parse_question(actor, params)
        rows = search_accounts(actor, question).order_by(NAMES[question.kind], "pk")
        return {each.history.holder: merge_cell(each, describe) for each in build_answers(list(rows), question)}

    return run


def test_roles_before_between_and_after_their_changes(cast, create_person, clock, ask):
    project, secadmin = cast["project"], cast["secadmin"]
    clock("03-02 09:00")
    chen = create_person("chen")
    for at, roles in (("03-05 09:30", ["approver"]), ("03-20 10:00", ["engineer"])):
        clock(at)
        set_member_roles(actor=secadmin, project=project, member=chen, roles=roles)
    clock("04-01 10:00")
    remove_member(actor=secadmin, project=project, member=chen)
    clock("05-01 10:00")
    set_member_roles(actor=secadmin, project=project, member=chen, roles=["approver"])  # granted again

    def get_roles(day, **more):
        return ask(on=f"2026-{day}", **more).get("chen", "absent")

    assert get_roles("03-01") == "absent"
    assert ask(describe_access, on="2026-03-02")["chen"] == (
        "not created yet (00:00 to 09:00); active (09:00 to 24:00)"
    )
    assert get_roles("03-04") == ""
    assert get_roles("03-05") == "– (00:00 to 09:30); wheat: approver (09:30 to 24:00)"
    assert get_roles("03-05", time="09:29") == ""
    assert get_roles("03-05", time="09:30") == "wheat: approver"
    assert get_roles("03-21") == "wheat: engineer"
    assert get_roles("04-02") == ""
    assert get_roles("05-02") == "wheat: approver"
    could = {
        day: list(ask(on=f"2026-{day}", action="approval.decide", project="wheat"))
        for day in ("03-04", "03-05", "03-20", "03-21", "04-02", "05-01", "12-31")
    }
    assert could == {
        "03-04": [], "03-05": ["chen"], "03-20": ["chen"], "03-21": [], "04-02": [], "05-01": ["chen"],
        "12-31": ["chen"],
    }  # fmt: skip
    assert set(ask(describe_proof_of, on="2026-03-21", q="chen").values()) == {""}


def describe_proof_of(answer, _standing):
    return describe_proof(answer)


def test_a_disabled_expired_or_unconfirmed_account_could_do_nothing(cast, create_person, clock, ask):
    project, secadmin, sysadmin = cast["project"], cast["secadmin"], cast["sysadmin"]
    clock("03-02 09:00")
    chen, late = create_person("chen"), create_user(actor=sysadmin, username="late")[0]
    for person in (chen, late):
        set_member_roles(actor=secadmin, project=project, member=person, roles=["approver"])
    clock("03-10 00:00")
    User.objects.filter(pk=late.pk).update(must_change_password=False)
    confirm_credentials(actor=secadmin, user=late)
    disable_user(actor=sysadmin, user=chen)
    clock("03-12 00:00")
    enable_user(actor=sysadmin, user=chen)
    set_account_expiry(actor=sysadmin, user=chen, expires_at=timezone.now() + timedelta(days=3, hours=12))

    def list_able(day, action="approval.decide"):
        return list(ask(on=f"2026-03-{day}", action=action, project="wheat"))

    assert {day: list_able(day) for day in ("05", "11", "13", "16")} == {
        "05": ["chen"], "11": ["late"], "13": ["chen", "late"], "16": ["late"]
    }  # fmt: skip
    assert list_able("05", "approval.view") == ["auditor", "chen", "late"]  # unconfirmed, it decides nothing
    cells = {day: ask(describe_access, on=f"2026-03-{day}", q="chen")["chen"] for day in ("11", "14", "15", "16")}
    assert cells == {
        "11": "disabled",
        "14": "active",
        "15": "active (00:00 to 12:00); expired (12:00 to 24:00)",
        "16": "expired",
    }


def test_a_system_role_and_an_emergency_grant(cast, create_person, clock, ask, actor_for):
    secadmin, sysadmin, project = cast["secadmin"], cast["sysadmin"], cast["project"]
    clock("03-02 09:00")
    chen, dana = create_person("chen"), create_person("dana")
    set_member_roles(actor=secadmin, project=project, member=dana, roles=["viewer"])
    clock("03-05 10:00")
    set_system_role(actor=secadmin, user=chen, system_role="security_admin")
    clock("03-09 10:00")
    set_system_role(actor=secadmin, user=chen, system_role="")
    clock("03-10 10:00")
    first = request_grant(actor=actor_for(dana), project=project, role="approver", reason="x", hours=4)
    clock("03-10 11:00")
    confirm_grant(actor=sysadmin, grant=first)  # it ends by the clock at 15:00
    clock("03-12 10:00")
    second = request_grant(actor=actor_for(dana), project=project, role="approver", reason="x", hours=8)
    confirm_grant(actor=sysadmin, grant=second)
    clock("03-12 12:00")
    end_grant(actor=secadmin, grant=second, reason="done")
    assert [ask(describe_system_role, on=f"2026-03-{day}")["chen"] for day in ("04", "06", "10")] == [
        "", "security_admin", ""
    ]  # fmt: skip
    assert list(ask(on="2026-03-06", action="member.set_roles")) == ["chen", "secadmin"]
    able = {at: list(ask(on="2026-03-10", time=at, action="approval.decide")) for at in ("10:30", "14:59", "15:00")}
    assert able == {"10:30": [], "14:59": ["dana"], "15:00": []}
    assert ask(describe_emergency, on="2026-03-12", q="dana")["dana"] == (
        f"– (00:00 to 10:00); #{second.pk} approver wheat (10:00 to 12:00); – (12:00 to 24:00)"
    )
    assert list(ask(on="2026-03-12", project="wheat")) == ["dana"]


def test_tokens_end_by_expiry_and_by_revocation(cast, create_person, clock, ask, actor_for):
    project, secadmin = cast["project"], cast["secadmin"]
    clock("03-02 09:00")
    chen = create_person("chen")
    set_member_roles(actor=secadmin, project=project, member=chen, roles=["engineer"])
    loader = create_service_account(actor=secadmin, project=project, name="loader", roles=["engineer"])
    clock("03-03 09:00")
    create_token(actor=actor_for(chen), project=project, name="a", scopes=["read"], days=2)
    tool, _secret = create_token_for_service_account(
        actor=secadmin, account=loader, name="b", scopes=["read", "jobs:write"], days=30
    )
    clock("03-10 09:00")
    revoke_token(actor=secadmin, token=ApiToken.objects.get(pk=tool.pk))
    clock("03-20 09:00")
    disable_service_account(actor=secadmin, account=loader)

    def count_tokens(day, **more):
        return ask(lambda _answer, standing: str(len(standing.tokens)), on=f"2026-03-{day}", time="12:00", **more)

    assert [count_tokens(day)["chen"] for day in ("02", "03", "04", "05", "06")] == ["0", "1", "1", "0", "0"]
    able = {
        day: list(ask(on=f"2026-03-{day}", time="12:00", kind="service_account", action="job.submit"))
        for day in ("02", "04", "11")
    }
    assert able == {"02": [], "04": ["loader"], "11": []}  # it acts by its tokens alone
    assert list(ask(on="2026-03-04", kind="service_account", action="model.create")) == []  # no scope of the token
    assert ask(describe_access, on="2026-03-21", kind="service_account") == {"loader": "disabled"}


def test_a_label_above_the_clearance_hides_the_project(cast, create_person, clock, ask):
    project, secadmin = cast["project"], cast["secadmin"]
    clock("03-02 09:00")
    chen = create_person("chen")
    set_member_roles(actor=secadmin, project=project, member=chen, roles=["approver"])
    clock("03-05 00:00")
    set_project_label(actor=secadmin, project=Project.objects.get(), label="secret")
    clock("03-08 00:00")
    set_clearance(actor=secadmin, user=chen, clearance="secret", reason="joins")
    able = {day: list(ask(on=f"2026-03-{day}", action="approval.decide")) for day in ("04", "06", "09")}
    assert able == {"04": ["chen"], "06": [], "09": ["chen"]}
    assert ask(on="2026-03-06")["chen"] == "wheat: approver (above the clearance)"


def test_a_revocation_by_recertification_ends_the_role(cast, create_person, clock, ask):
    project, secadmin = cast["project"], cast["secadmin"]
    clock("03-02 09:00")
    chen = create_person("chen")
    set_member_roles(actor=secadmin, project=project, member=chen, roles=["approver", "engineer"])
    clock("03-05 09:00")
    campaign = start_campaign(actor=secadmin, name="spring", days=30)
    clock("03-06 09:00")
    rows = campaign.reviews.filter(description="approver")
    decide_grants(actor=secadmin, campaign=campaign, rows=rows, decision="revoked", reason="left")
    assert [ask(on=f"2026-03-{day}", q="chen")["chen"] for day in ("04", "05", "07")] == [
        "wheat: approver, engineer", "wheat: approver, engineer", "wheat: engineer"
    ]  # fmt: skip
    assert ask(describe_proof_of, on="2026-03-07", q="chen")["chen"] == ""


def test_what_no_record_proves_is_named(cast, create_person, clock, ask, project, engineer):
    User.objects.filter(username="engineer").update(created_at=clock("03-01 08:00"))
    Membership.objects.update(created_at=clock("03-03 08:00"))
    clock("03-02 09:00")
    chen = create_person("chen")
    clock("03-08 09:00")
    set_member_roles(actor=cast["secadmin"], project=project, member=engineer, roles=["viewer"])
    set_member_roles(actor=cast["secadmin"], project=project, member=chen, roles=["viewer"])
    Membership.objects.filter(user=chen).delete()  # behind the plane's back

    def get_unproven(day, name):
        return ask(describe_proof_of, on=f"2026-03-{day}", q=name)[name]

    assert get_unproven("05", "chen") == ""
    assert get_unproven("09", "chen") == "demo: viewer"
    assert ask(on="2026-03-05", q="engineer")["engineer"] == "demo: engineer"  # as the later record found it
    assert "creation" in get_unproven("05", "engineer")


def test_many_accounts_take_no_more_queries_than_one(cast, create_person, clock):
    clock("03-02 09:00")
    people = [create_person(f"p{number}") for number in range(3)]
    for person in people:
        set_member_roles(actor=cast["secadmin"], project=cast["project"], member=person, roles=["viewer"])
    clock("12-31 12:00")
    counts = []
    for text in ("p0", "p"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            question = parse_question(cast["auditor"], {"on": "2026-03-03", "action": "job.view", "q": text})
            rows = list(search_accounts(cast["auditor"], question))
            build_answers(rows, question)
        counts.append(len(queries))
    assert len(rows) == 3
    assert counts[0] == counts[1]


def test_bad_questions_and_who_may_not_ask(cast, clock, actor_for, sysadmin):
    auditor = cast["auditor"]
    for params, field in (
        ({"on": "2026-02-30"}, "on"),
        ({"on": "2027-01-01"}, "on"),
        ({"on": "2026-03-01", "time": "24:00"}, "time"),
        ({"kind": "robot"}, "kind"),
        ({"action": "model.fly"}, "action"),
        ({"project": "none"}, "project"),
        ({"project": "wheat", "action": "user.create"}, "project"),
    ):
        clock("12-31 12:00")
        with pytest.raises(Invalid) as caught:
            parse_question(auditor, params)
        assert caught.value.field == field
    with pytest.raises(Refused):
        parse_question(cast["sysadmin"], {})


def test_the_reading_is_recorded(cast, ask):
    ask(on="2026-03-01", action="approval.decide")
    assert AuditRecord.objects.filter(action="access_history.view", actor="auditor").count() == 1
