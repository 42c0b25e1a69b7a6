from __future__ import annotations

import pytest

from apps.platform.artifacts.services import adopt

pytestmark = pytest.mark.services
LIST = "/api/v1/projects/demo/artifacts"


@pytest.fixture
def five(worker_actor, project, other_project):
    adopt(actor=worker_actor, project=other_project, digest="ff" * 32, size=1)
    return [adopt(actor=worker_actor, project=project, digest=f"{n:064d}", size=n).digest for n in range(5)][::-1]


def test_newest_first_in_pages(five, api, viewer):
    first = api(viewer).get(LIST, {"limit": 3}).json()
    rest = api(viewer).get(LIST, {"limit": 3, "cursor": first["next"]}).json()
    assert [item["digest"] for item in first["items"] + rest["items"]] == five
    assert rest["next"] is None


def test_the_number_of_queries_does_not_grow(five, api, viewer, django_assert_max_num_queries):
    client = api(viewer)
    client.get(LIST)
    with django_assert_max_num_queries(4):
        assert len(client.get(LIST).json()["items"]) == 5


def test_who_may(five, api, engineer, approver, stranger):
    assert [api(who).get(LIST).status_code for who in (engineer, approver, stranger)] == [200, 200, 404]


def test_other_verbs_are_refused(five, api, engineer):
    answer = api(engineer).delete(LIST)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]
