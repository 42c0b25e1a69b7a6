from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.models import User
from apps.platform.accounts.services import create_project, create_token, set_member_roles, set_system_role
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.emergency.services import confirm_grant, end_grant, expire_grants, request_grant
from apps.platform.notices.models import Notice

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_two_people_lend_a_role_and_every_action_under_it_is_marked(
    engineer, secadmin, auditor, actor_for, request_access, read_records
):
    grant = request_access(engineer)
    assert not policy.is_allowed(actor_for(engineer), "project.create")
    confirm_grant(actor=actor_for(secadmin), grant=grant)
    engineer.refresh_from_db()
    actor = actor_for(engineer)
    assert (actor.emergency_id, actor.emergency_roles) == (grant.pk, {SystemRole.SYSTEM_ADMIN})
    create_project(actor=actor, slug="night")
    [record] = read_records("project.create")
    assert record["actor"]["emergency"] == grant.pk
    assert "emergency" not in read_records("emergency.request")[0]["actor"]
    assert Notice.objects.filter(kind="emergency.granted", recipient=auditor).count() == 1


def test_it_ends_by_itself_and_at_once_by_any_administrator(
    engineer, auditor, sysadmin, secadmin, actor_for, lend, viewer
):
    grant = lend(engineer)
    assert actor_for(engineer).emergency_id == grant.pk
    EmergencyGrant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    grant.refresh_from_db()
    assert (grant.status, actor_for(engineer).emergency_id) == ("expired", None)
    for person in (auditor, sysadmin, secadmin, engineer):
        grant = lend(engineer)  # the one that has expired makes room
        with pytest.raises(Refused):
            end_grant(actor=actor_for(viewer), grant=grant, reason="no")
        end_grant(actor=actor_for(person), grant=grant, reason="done")
        engineer.refresh_from_db()
        assert actor_for(engineer).emergency_id is None
    with pytest.raises(Conflict):
        end_grant(actor=actor_for(auditor), grant=grant, reason="again")


def test_its_expiry_is_recorded_once(engineer, viewer, auditor, lend, request_access, worker_actor, read_records):
    over, open_still = lend(engineer), request_access(viewer)
    assert expire_grants(actor=worker_actor) == 0
    EmergencyGrant.objects.filter(pk=over.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert (expire_grants(actor=worker_actor), expire_grants(actor=worker_actor)) == (1, 0)
    [body] = read_records("emergency.expire")
    assert (body["object"]["id"], body["before"]["state"], body["after"]["state"]) == (
        str(over.pk),
        "active",
        "expired",
    )
    over.refresh_from_db()
    assert (over.status, over.ended_at, open_still.status) == ("expired", over.expires_at, "requested")
    assert Notice.objects.filter(kind="emergency.ended", recipient=auditor).count() == 1
    EmergencyGrant.objects.update(requested_at=timezone.now() - timedelta(hours=25))
    assert expire_grants(actor=worker_actor) == 1
    assert EmergencyGrant.objects.with_status("expired").count() == 2
    with pytest.raises(Refused):
        expire_grants(actor=Actor(kind="user", system_role=SystemRole.AUDITOR))


def test_one_person_alone_gets_nothing(sysadmin, secadmin, engineer, actor_for, request_access, viewer):
    grant = request_access(secadmin)
    other = User.objects.create(username="secadmin2", system_role="security_admin", must_change_password=False)
    codes = {}
    for person in (secadmin, other, engineer):
        with pytest.raises(Refused) as caught:
            confirm_grant(actor=actor_for(person), grant=grant)
        codes[person.username] = caught.value.code
    assert codes == {"secadmin": "own_request", "secadmin2": "wrong_administrator", "engineer": "refused"}
    confirm_grant(actor=actor_for(sysadmin), grant=grant)
    secadmin.refresh_from_db()
    theirs = request_access(viewer)
    sysadmin_too = actor_for(secadmin)
    assert policy.is_allowed(sysadmin_too, "user.create")
    confirm_grant(actor=sysadmin_too, grant=theirs)  # with the role of their own, which is security administrator
    end_grant(actor=sysadmin_too, grant=theirs, reason="over")


def test_a_lent_role_lends_nothing_further_and_is_never_the_auditors(
    engineer, auditor, nobody_yet, project, actor_for, lend, request_access
):
    lend(engineer, role="security_admin")
    actor = actor_for(engineer)
    assert policy.is_allowed(actor, "member.remove")
    for member in (engineer, nobody_yet):
        with pytest.raises(Refused):
            set_member_roles(actor=actor, project=project, member=member, roles=["approver"])
    lent_alone = Actor(
        kind="user",
        system_role=SystemRole.SECURITY_ADMIN,
        emergency_id=1,
        emergency_roles=frozenset({SystemRole.SECURITY_ADMIN}),
    )
    assert not [action for action in policy.NEVER_BY_EMERGENCY if policy.is_allowed(lent_alone, action)]
    with pytest.raises(Refused):
        set_system_role(actor=actor, user=nobody_yet, system_role="auditor")
    with pytest.raises(Invalid) as caught:
        request_access(engineer, role="auditor")
    assert caught.value.field == "role"
    with pytest.raises(Refused):
        request_access(auditor)


def test_bad_requests_name_their_field(engineer, project, other_project, actor_for, request_access):
    fields = {}
    for name, values in {
        "no hours": {"hours": 0},
        "too many": {"hours": 25},
        "a project's role on the plane": {"role": "engineer"},
        "a plane's role in a project": {"project": project, "role": "system_admin"},
    }.items():
        with pytest.raises(Invalid) as caught:
            request_access(engineer, **values)
        fields[name] = caught.value.field
    assert fields == {
        "no hours": "hours",
        "too many": "hours",
        "a project's role on the plane": "role",
        "a plane's role in a project": "role",
    }
    with pytest.raises(Conflict) as held:
        request_access(engineer, project=project, role="engineer")
    assert held.value.code == "role_held"
    request_access(engineer, project=project, role="approver")
    with pytest.raises(Conflict) as caught:
        request_access(engineer)
    assert caught.value.code == "grant_open"
    with pytest.raises(Invalid):
        request_grant(actor=actor_for(engineer), project=None, role="system_admin", reason=" ", hours=1)


def test_a_role_in_a_project_counts_there_alone(engineer, project, other_project, actor_for, lend):
    lend(engineer, project=project, role="approver")
    actor = actor_for(engineer)
    assert policy.is_allowed(actor, "approval.decide", project)
    assert not policy.is_allowed(actor, "approval.decide", other_project)
    with pytest.raises(Refused) as caught:
        create_token(actor=actor, project=project, name="after", scopes=["read"])
    assert caught.value.code == "borrowed_role"


def test_an_old_request_is_not_confirmed(engineer, secadmin, actor_for, request_access):
    grant = request_access(engineer)
    EmergencyGrant.objects.update(requested_at=timezone.now() - timedelta(hours=25))
    grant.refresh_from_db()
    with pytest.raises(Conflict) as caught:
        confirm_grant(actor=actor_for(secadmin), grant=grant)
    assert caught.value.code == "request_expired"


def test_the_database_refuses_what_one_person_writes_alone(engineer, auditor, request_access):
    grant = request_access(engineer)
    taken = {}
    for name, change in {
        "in force without anybody": "state = 'active', expires_at = requested_at",
        "confirmed by oneself": f"confirmed_by_id = {engineer.pk}",
        "the auditor's role": "role = 'auditor'",
        "a project's role on the plane": "role = 'approver'",
    }.items():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"UPDATE emergency_emergencygrant SET {change} WHERE id = {grant.pk}")
            taken[name] = True
        except IntegrityError:
            pass
    assert taken == {}
