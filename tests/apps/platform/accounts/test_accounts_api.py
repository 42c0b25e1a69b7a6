"""REST: the shapes, and that what needs a person refuses a token. Rights in detail: the tests of each service."""

import pytest

from apps.platform.accounts.models import ApiToken, Membership, Project, ServiceAccount, User
from apps.platform.accounts.row_operations import get_member_roles

V1 = "/api/v1"


def post(client, path, body=None, method="post"):
    return getattr(client, method)(f"{V1}/{path}", body or {}, content_type="application/json")


def test_me_by_token(engineer, make_token, api):
    answer = api(make_token(engineer, scopes=["read"])[0]).get(f"{V1}/me").json()
    assert answer == {
        "kind": "user",
        "label": "engineer",
        "system_role": None,
        "time_zone": "",
        "language": "",
        "theme": "",
        "scopes": ["read"],
        "projects": {"demo": ["engineer"]},
    }


def test_me_by_session(auditor, web):
    answer = web(auditor).get(f"{V1}/me").json()
    assert (answer["system_role"], answer["scopes"], answer["projects"]) == ("auditor", None, {})


@pytest.mark.parametrize(
    ("who", "slugs"), [("engineer", ["demo"]), ("stranger", ["other"]), ("sysadmin", ["demo", "other"])]
)
def test_projects_that_one_may_see(who, slugs, request, project, other_project, web):
    answer = web(request.getfixturevalue(who)).get(f"{V1}/projects").json()
    assert [row["slug"] for row in answer["items"]] == slugs


def test_projects_are_paged(sysadmin, web):
    Project.objects.bulk_create([Project(slug=f"p-{n}", name="x") for n in range(5)])
    client = web(sysadmin)
    first = client.get(f"{V1}/projects?limit=3").json()
    second = client.get(f"{V1}/projects?limit=3&cursor={first['next']}").json()
    assert [r["slug"] for r in first["items"] + second["items"]] == [f"p-{n}" for n in range(5)]
    assert second["next"] is None


def test_a_project_is_made(sysadmin, web):
    answer = post(web(sysadmin), "projects", {"slug": "oil", "name": "Oil"})
    assert (answer.status_code, answer.json()["slug"]) == (201, "oil")
    assert post(web(sysadmin), "projects", {"slug": "oil"}).status_code == 409
    assert post(web(sysadmin), "projects", {"slug": "No"}).json()["error"]["field"] == "/slug"


def test_members_and_their_roles(secadmin, web, project, engineer, tool, nobody_yet):
    client = web(secadmin)
    answer = post(client, "projects/demo/members/newcomer", {"roles": ["viewer", "approver"]}, "put")
    assert answer.status_code == 200
    rows = client.get(f"{V1}/projects/demo/members").json()["items"]
    assert [(r["kind"], r["name"], r["roles"]) for r in rows] == [
        ("user", "engineer", ["engineer"]),
        ("user", "newcomer", ["approver", "viewer"]),
        ("service_account", "loader", ["engineer"]),
    ]
    assert client.delete(f"{V1}/projects/demo/members/newcomer").status_code == 204
    assert not Membership.objects.filter(user=nobody_yet).exists()


@pytest.mark.parametrize("name", ["sysadmin", "nobody"])
def test_a_member_cannot_ask_who_exists(engineer, sysadmin, web, name):
    assert post(web(engineer), f"projects/demo/members/{name}", {"roles": ["viewer"]}, "put").status_code == 403


def test_members_of_another_project(stranger, web, project):
    assert web(stranger).get(f"{V1}/projects/demo/members").status_code == 404


def test_a_service_account_from_making_to_end(secadmin, web, project, api):
    client = web(secadmin)
    assert post(client, "projects/demo/service-accounts", {"name": "pump", "roles": ["engineer"]}).status_code == 201
    made = post(client, "projects/demo/service-accounts/pump/tokens", {"name": "t", "scopes": ["data:write"]}).json()
    assert api(made["token"]).get(f"{V1}/me").json()["label"] == "pump"
    assert post(client, "projects/demo/service-accounts/pump/disable").status_code == 204
    assert api(made["token"]).get(f"{V1}/me").status_code == 401
    assert not ServiceAccount.objects.get().is_active


def test_a_person_from_making_to_end(sysadmin, web):
    client = web(sysadmin)
    made = post(client, "users", {"username": "li"})
    assert made.status_code == 201
    assert User.objects.get(username="li").check_password(made.json()["one_time_password"])
    assert made.headers["Cache-Control"] == "no-store"
    assert post(client, "users/li/reset-password").json()["one_time_password"] != made.json()["one_time_password"]
    assert post(client, "users/LI/disable", {"reason": "left"}).json()["is_active"] is False
    assert post(client, "users/li/disable").status_code == 409
    assert post(client, "users/li/enable").json()["is_active"] is True
    assert client.get(f"{V1}/users/nobody").status_code == 404


def test_system_roles(secadmin, web, nobody_yet):
    answer = post(web(secadmin), "users/newcomer/system-role", {"system_role": "auditor"}, "put")
    assert answer.json()["system_role"] == "auditor"


def test_who_sees_people(sysadmin, auditor, engineer, stranger, web):
    found = [web(who).get(f"{V1}/users").status_code for who in (sysadmin, auditor, engineer, stranger)]
    assert found == [200, 200, 403, 403]


def test_own_tokens(engineer, viewer, web, make_token):
    make_token(viewer)
    client = web(engineer)
    made = post(client, "tokens", {"project": "demo", "name": "t", "scopes": ["read"], "days": 3})
    assert made.status_code == 201
    rows = client.get(f"{V1}/tokens").json()["items"]
    assert [row["prefix"] for row in rows] == [made.json()["token"][:12]]
    assert "token" not in rows[0]
    assert post(client, f"tokens/{rows[0]['id']}/revoke").json()["revoked_at"] is not None


def test_anothers_token_is_not_there(engineer, viewer, web, make_token):
    _, token = make_token(viewer)
    assert post(web(engineer), f"tokens/{token.pk}/revoke").status_code == 404
    assert ApiToken.objects.get().revoked_at is None


PERSONAL = [
    ("post", "projects"),
    ("get", "projects/demo/members"),
    ("put", "projects/demo/members/engineer"),
    ("post", "projects/demo/service-accounts"),
    ("get", "users"),
    ("post", "users"),
    ("get", "tokens"),
    ("post", "tokens"),
]


def test_no_token_does_what_needs_a_person(engineer, make_token, api):
    client = api(make_token(engineer, scopes=["read", "data:write", "jobs:write", "audit:read"])[0])
    body = {"slug": "x", "name": "x", "username": "x", "roles": ["viewer"], "project": "demo", "scopes": ["read"]}
    for method, path in PERSONAL:
        answer = getattr(client, method)(f"{V1}/{path}", body if method != "get" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing"), (method, path)


def test_invalid_roles_are_refused(secadmin, web, project, engineer):
    client = web(secadmin)
    for body in ({"roles": []}, {"roles": "viewer"}, {}, {"roles": ["root"]}):
        answer = post(client, "projects/demo/members/engineer", body, "put")
        assert (answer.status_code, answer.json()["error"]["field"].split("/")[1]) == (422, "roles"), body
    assert get_member_roles(project, engineer) == {"engineer"}


def test_wrong_verb(sysadmin, web):
    client = web(sysadmin)
    for path in ("me", "users", "tokens/1/revoke"):
        assert client.put(f"{V1}/{path}", {}, content_type="application/json").status_code == 405, path
