from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.platform.accounts.actors import (
    build_actor_for_token,
    build_actor_for_user,
    build_actor_from_grant,
    get_client_address,
)
from apps.platform.accounts.models import ApiToken, Membership


def grant_of(actor) -> dict:
    return {**actor.as_record(), "scopes": sorted(actor.scopes) if actor.scopes is not None else None}


def test_a_member_has_the_roles_of_each_project(engineer, project, other_project, django_assert_num_queries):
    Membership.objects.create(project=other_project, user=engineer, role=ProjectRole.VIEWER)
    with django_assert_num_queries(1):
        actor = build_actor_for_user(engineer, address="192.0.2.9", request_id="r-1")
    assert actor.project_roles == {project.pk: {ProjectRole.ENGINEER}, other_project.pk: {ProjectRole.VIEWER}}
    assert (actor.label, actor.address, actor.request_id) == ("engineer", "192.0.2.9", "r-1")


def test_a_disabled_person_is_nobody(engineer):
    engineer.is_active = False
    assert build_actor_for_user(engineer).is_anonymous


def test_a_token_is_narrowed_to_its_project_and_scopes(engineer, project, other_project, make_token):
    Membership.objects.create(project=other_project, user=engineer, role=ProjectRole.VIEWER)
    actor = build_actor_for_token(make_token(engineer, project, ["read"])[1])
    assert actor.project_roles == {project.pk: {ProjectRole.ENGINEER}}
    assert actor.scopes == {"read"}


def test_a_token_outlives_no_membership(engineer, project, make_token):
    _, token = make_token(engineer)
    Membership.objects.all().delete()
    assert build_actor_for_token(token).project_roles == {}


@pytest.mark.parametrize(
    ("system_role", "scopes", "kept"),
    [
        (SystemRole.AUDITOR, ["audit:read"], SystemRole.AUDITOR),
        (SystemRole.AUDITOR, ["read"], None),
        (SystemRole.SYSTEM_ADMIN, ["audit:read", "read"], None),
        (SystemRole.SECURITY_ADMIN, ["audit:read", "read"], None),
    ],
)
def test_only_the_auditor_keeps_a_system_role_in_a_token(nobody_yet, project, make_token, system_role, scopes, kept):
    nobody_yet.system_role = system_role
    nobody_yet.save()
    assert build_actor_for_token(make_token(nobody_yet, project, scopes)[1]).system_role == kept


def test_a_service_account_acts_by_token(tool, project, make_token):
    _, token = make_token(None, project, ["read"], service_account=tool)
    actor = build_actor_for_token(token)
    assert (actor.kind, actor.label, actor.user_id) == ("service_account", "loader", None)
    assert actor.get_roles_in(project.pk) == {ProjectRole.ENGINEER}


def test_a_grant_brings_back_the_person_with_todays_rights(engineer, project, actor_for):
    grant = grant_of(actor_for(engineer))
    Membership.objects.filter(user=engineer).update(role=ProjectRole.VIEWER)
    actor = build_actor_from_grant(grant)
    assert actor.user_id == engineer.pk
    assert actor.get_roles_in(project.pk) == {ProjectRole.VIEWER}


def test_a_grant_by_token_keeps_the_narrower_scopes(engineer, make_token):
    _, token = make_token(engineer, scopes=["read", "jobs:write"])
    grant = grant_of(build_actor_for_token(token)) | {"scopes": ["jobs:write", "data:write"]}
    assert build_actor_from_grant(grant).scopes == {"jobs:write"}


@pytest.mark.parametrize("how", ["person", "membership", "disabled", "token", "revoked", "expired", "account"])
def test_authority_that_is_gone(how, engineer, tool, project, make_token):
    of_tool = how == "account"
    _, token = make_token(
        None if of_tool else engineer, project, ["jobs:write"], service_account=tool if of_tool else None
    )
    by_token = how in {"token", "revoked", "expired", "account"}
    grant = grant_of(build_actor_for_token(token) if by_token else build_actor_for_user(engineer))
    assert build_actor_from_grant(grant) is not None
    take_away(how, engineer, tool, token)
    assert build_actor_from_grant(grant) is None


def take_away(how, user, tool, token) -> None:
    row = ApiToken.objects.filter(pk=token.pk)
    match how:
        case "person":
            user.delete()
        case "membership":
            Membership.objects.all().delete()
        case "disabled":
            type(user).objects.update(is_active=False)
        case "token":
            row.delete()
        case "revoked":
            row.update(revoked_at=timezone.now())
        case "expired":
            row.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "account":
            type(tool).objects.update(is_active=False)


@pytest.mark.parametrize(
    "grant",
    [
        {},
        {"kind": "user"},
        build_plane_actor(PlaneRole.OPERATOR).as_record(),
        {"kind": "user", "user": 10**9, "service_account": None, "token": None},
        {"kind": "service_account", "user": None, "service_account": 1, "token": None},
    ],
)
def test_a_grant_of_nobody(db, grant):
    assert build_actor_from_grant(grant) is None


def test_the_grant_of_what_the_plane_asks_for_itself():
    assert build_actor_from_grant(build_plane_actor(PlaneRole.DISPATCHER).as_record()) == build_plane_actor(
        PlaneRole.DISPATCHER
    )
    assert build_actor_from_grant({"kind": "user", "label": "dispatcher"}) is None


def test_a_grant_that_names_another_owner_than_its_token(engineer, viewer, make_token):
    grant = grant_of(build_actor_for_token(make_token(engineer)[1])) | {"user": viewer.pk}
    assert build_actor_from_grant(grant) is None


@pytest.mark.parametrize(
    ("behind_tls", "forwarded", "address"),
    [
        (False, "203.0.113.7", "127.0.0.1"),
        (True, "203.0.113.7", "203.0.113.7"),
        (True, "10.9.9.9, 203.0.113.7", "203.0.113.7"),
        (True, "", "127.0.0.1"),
    ],
)
def test_only_the_proxys_own_hop_is_believed(rf, settings, behind_tls, forwarded, address):
    settings.ENV = settings.ENV.model_copy(update={"behind_tls": behind_tls})
    assert get_client_address(rf.get("/", headers={"X-Forwarded-For": forwarded})) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [("10.1.0.7", "192.0.2.9"), ("10.1.1.7", "10.1.1.7"), ("", "192.0.2.9"), ("no address", "no address")],
)
def test_whoever_comes_past_the_proxy_invents_no_address(rf, settings, peer, address):
    known = {"behind_tls": True, "proxy_addresses": ["10.1.0.0/24", "::1"]}
    settings.ENV = settings.ENV.model_copy(update=known)
    request = rf.get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": "192.0.2.9"})
    assert get_client_address(request) == address
