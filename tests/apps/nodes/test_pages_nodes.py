import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.nodes.models import Node


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client) -> int:
    client.get("/nodes")
    with CaptureQueriesContext(connection) as seen:
        assert client.get("/nodes").status_code == 200
    return len(seen)


def test_the_list_costs_the_same_for_five_and_fifty(engineer, web, node):
    client = web(engineer)
    Node.objects.bulk_create(Node(name=f"n{n}", host="h") for n in range(4))
    few = queries_of(client)
    Node.objects.bulk_create(Node(name=f"n{n}", host="h") for n in range(4, 49))
    assert queries_of(client) == few < 20


@pytest.mark.parametrize(("seconds", "word"), [(0, "<b>1 of 1 node</b>"), (60, "<b>1 offline</b>")])
def test_the_answer_counts_who_takes_jobs(seconds, word, engineer, web, node, heard_of):
    heard_of(node, seconds)
    assert word in text_of(web(engineer).get("/nodes"))


def test_hold_and_release(sysadmin, web, node):
    client = web(sysadmin)
    assert client.post("/nodes/gpu-01/hold", {"reason": "new driver"}).url == "/nodes"
    node.refresh_from_db()
    assert node.held_reason == "new driver"
    assert "new driver" in text_of(client.get("/nodes"))
    client.post("/nodes/gpu-01/release")
    node.refresh_from_db()
    assert node.held_at is None


def test_a_hold_without_a_reason_is_said(sysadmin, web, node):
    assert "must not be blank" in text_of(web(sysadmin).post("/nodes/gpu-01/hold", {"reason": " "}, follow=True))
    node.refresh_from_db()
    assert node.held_at is None


@pytest.mark.parametrize("who", ["engineer", "auditor"])
def test_others_have_no_button_and_are_refused(who, request, web, node):
    client = web(request.getfixturevalue(who))
    assert "/nodes/gpu-01/hold" not in text_of(client.get("/nodes"))
    assert client.post("/nodes/gpu-01/hold", {"reason": "no"}).status_code == 403
    node.refresh_from_db()
    assert node.held_at is None


def test_filters(engineer, web, node):
    client = web(engineer)
    assert "gpu-01" not in text_of(client.get("/nodes?q=cpu"))
    assert client.get("/nodes?status=asleep").status_code == 422
    assert client.get("/nodes/gpu-02/hold").status_code == 405
