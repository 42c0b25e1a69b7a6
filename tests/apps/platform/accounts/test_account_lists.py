"""The lists of people, members and tokens: what narrows them, their files, and many tokens revoked at once."""

from __future__ import annotations

import csv
import io

import pytest

from apps.platform.accounts.models import ApiToken, Membership, User

pytestmark = pytest.mark.services


def table(client, where: str) -> list[list[str]]:
    body = b"".join(client.get(where).streaming_content)
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_people_are_narrowed_by_state_role_and_name(web, sysadmin, auditor, engineer, viewer):
    viewer.is_active = False
    viewer.save()
    client = web(sysadmin)

    def names(query: str) -> list[str]:
        return [row[0] for row in table(client, f"/people?format=csv&{query}")[1:]]

    assert names("state=disabled") == ["viewer"]
    assert names("role=auditor") == ["auditor"]
    assert names("q=ENG") == ["engineer"]
    assert names("sort=-username&state=active") == ["sysadmin", "engineer", "auditor"]
    assert names("last_after=today") == ["sysadmin"]
    assert names("project_role=viewer") == ["viewer"]
    assert names("project_role=engineer&state=active") == ["engineer"]
    assert names("project_role=approver") == []


def test_every_choice_of_a_filter_is_one_that_the_list_takes(web, sysadmin, auditor, engineer):
    client = web(sysadmin)
    for where in ("/people", "/account/tokens", "/p/demo/members"):
        reader = web(engineer) if where.startswith("/p/") else client
        for one in reader.get(where).context["filters"]:
            values = [str(value) for value, _word in one.get("choices") or ()]
            assert len(values) == len(set(values))
            assert {reader.get(where, {one["name"]: value}).status_code for value in values} <= {200}


def test_people_are_chosen_by_the_role_that_they_have_in_the_plane(web, sysadmin, auditor):
    role = next(one for one in web(sysadmin).get("/people").context["filters"] if one["name"] == "role")
    assert [value for value, _word in role["choices"]] == ["", "system_admin", "security_admin", "auditor"]


def test_an_invalid_filter_of_people_is_refused(web, sysadmin):
    client = web(sysadmin)
    for query in ("?state=asleep", "?role=king", "?project_role=king", "?sort=state", "?last_after=soon"):
        assert client.get(f"/people{query}").status_code == 422, query


def test_who_may_not_see_people_takes_none_away(web, engineer):
    assert web(engineer).get("/people?format=csv").status_code == 403


def test_members_are_narrowed_and_ordered(web, engineer, viewer, tool):
    client = web(engineer)
    assert table(client, "/p/demo/members?format=csv&kind=service_account")[1:] == [
        ["loader", "service_account", "active", "engineer"]
    ]
    names = [row[0] for row in table(client, "/p/demo/members?format=csv&role=engineer&sort=-name")[1:]]
    assert names == ["loader", "engineer"]
    assert client.get("/p/demo/members?role=king").status_code == 422


def test_members_come_fifty_to_a_page_and_all_in_a_file(web, engineer, project, django_assert_max_num_queries):
    many = User.objects.bulk_create(User(username=f"m{n:02}") for n in range(60))
    Membership.objects.bulk_create(
        Membership(project=project, user=user, role=role) for user in many for role in ("viewer", "approver")
    )
    client = web(engineer)
    client.get("/p/demo/members")  # the first visit renews the session
    with django_assert_max_num_queries(12):
        first = client.get("/p/demo/members").context
    assert (len(first["rows"]), first["table"].total) == (50, 61)
    last = client.get("/p/demo/members", {"cursor": first["page"].next})
    assert [member.name for member in last.context["rows"]] == [f"m{n:02}" for n in range(49, 60)]
    assert last.context["rows"][0].roles == ("approver", "viewer")
    assert len(table(client, "/p/demo/members?format=csv")) == 62


def test_each_of_many_tokens_is_revoked_by_itself(web, engineer, viewer, make_token):
    (_, live), (_, other) = make_token(engineer), make_token(viewer)
    _, gone = make_token(engineer)
    client = web(engineer)
    client.post(f"/account/tokens/{gone.pk}/revoke")
    text = client.post("/account/tokens/bulk", {"do": "revoke", "ids": [live.pk, gone.pk, other.pk]}).content.decode()
    assert "<b>1 done</b>" in text
    assert "already_revoked" in text
    assert "not yours" in text
    assert set(ApiToken.objects.filter(revoked_at__isnull=True)) == {other}


def test_tokens_are_narrowed_by_state(web, engineer, make_token):
    _, live = make_token(engineer)
    _, gone = make_token(engineer, name="old")
    client = web(engineer)
    client.post(f"/account/tokens/{gone.pk}/revoke")
    assert [row[1] for row in table(client, "/account/tokens?format=csv&state=revoked&columns=state")[1:]] == [
        "revoked"
    ]
    assert [row[0] for row in table(client, "/account/tokens?format=csv&state=active")[1:]] == [live.name]
    assert client.get("/account/tokens?state=lost").status_code == 422
