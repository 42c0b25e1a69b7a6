import pytest

from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/nodes"


def test_any_member_sees_what_is_free(api, viewer, node):
    answer = api(viewer).get(f"{URL}/gpu-01")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["status"], shown["online"], shown["cpus"]) == ("online", True, 16)
    assert (shown["running_jobs"], shown["used_cpus"], shown["used_memory_bytes"]) == (0, 0, 0)


def test_the_list_costs_the_same_for_any_number(api, viewer, django_assert_num_queries):
    client = api(viewer)
    client.get(URL)  # notes the token's use
    for low, high in ((0, 5), (5, 50)):
        Node.objects.bulk_create(Node(name=f"n-{n:03}", host="h") for n in range(low, high))
        with django_assert_num_queries(3):
            answer = client.get(URL, {"limit": 100})
        assert [item["name"] for item in answer.json()["items"]] == [f"n-{n:03}" for n in range(high)]


def test_pages_follow_the_name(api, viewer):
    Node.objects.bulk_create(Node(name=f"n-{n}", host="h") for n in range(5))
    client = api(viewer)
    first = client.get(URL, {"limit": 3}).json()
    second = client.get(URL, {"limit": 3, "cursor": first["next"]}).json()
    assert [item["name"] for item in first["items"] + second["items"]] == [f"n-{n}" for n in range(5)]
    assert second["next"] is None


def test_filters(api, viewer, node):
    Node.objects.create(name="cpu-1", host="rack-7")
    client = api(viewer)
    for query, names in (
        ({"q": "GPU"}, ["gpu-01"]),
        ({"q": "rack"}, ["cpu-1"]),
        ({"status": "offline"}, ["cpu-1"]),
        ({"status": "held"}, []),
    ):
        assert [item["name"] for item in client.get(URL, query).json()["items"]] == names, query


def test_an_unknown_status_is_named(api, viewer):
    answer = api(viewer).get(URL, {"status": "asleep"})
    assert (answer.status_code, answer.json()["error"]["limit"]) == (422, "online, held, offline")


def test_only_running_jobs_use_a_node(api, viewer, project, node):
    columns = {"project": project, "kind": "noop", "spec": "{}", "queue": "cpu", "time_limit_seconds": 9, "grant": {}}
    for state in ("running", "running", "succeeded", "failed"):
        Job.objects.create(node=node, state=state, need_cpus=1.5, need_memory_bytes=10, need_gpus=1, **columns)
    shown = api(viewer).get(f"{URL}/gpu-01").json()
    assert (shown["running_jobs"], shown["used_cpus"], shown["used_memory_bytes"], shown["used_gpus"]) == (2, 3, 20, 2)


def test_a_job_over_several_nodes_uses_each_of_them(api, viewer, project, node):
    first = Node.objects.create(name="gpu-00", host="rack")
    columns = {"project": project, "kind": "noop", "spec": "{}", "queue": "cpu", "time_limit_seconds": 9, "grant": {}}
    needs = {"need_cpus": 1.5, "need_memory_bytes": 10, "need_gpus": 1, "need_nodes": 2}
    Job.objects.create(node=node, state="running", **needs | {"need_nodes": 1}, **columns)
    gang = Job.objects.create(node=first, state="running", attempt=2, **needs, **columns)
    for attempt, state in ((1, "ended"), (2, "running")):
        for rank, member in enumerate((first, node)):
            gang.members.create(attempt=attempt, rank=rank, node=member, node_name=member.name, state=state)
    shown = {item["name"]: item for item in api(viewer).get(URL).json()["items"]}
    used = [[shown[name][key] for key in ("running_jobs", "used_cpus", "used_gpus")] for name in ("gpu-00", "gpu-01")]
    assert used == [[1, 1.5, 1], [2, 3, 2]]


def test_no_such_node(api, viewer, node):
    answer = api(viewer).get(f"{URL}/gpu-02")
    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "name")


def test_the_administrator_holds_and_releases_in_a_browser(web, sysadmin, node):
    client = web(sysadmin)
    held = client.post(f"{URL}/gpu-01/hold", {"reason": "fan"}, content_type="application/json")
    assert (held.status_code, held.json()["status"], held.json()["held_reason"]) == (200, "held", "fan")
    again = client.post(f"{URL}/gpu-01/hold", {"reason": "fan"}, content_type="application/json")
    assert again.status_code == 409
    released = client.post(f"{URL}/gpu-01/release", content_type="application/json")
    assert (released.status_code, released.json()["status"]) == (200, "online")


def test_a_hold_needs_a_reason(web, sysadmin, node):
    client = web(sysadmin)
    for body in ({}, {"reason": ""}, {"reason": "x" * 201}):
        answer = client.post(f"{URL}/gpu-01/hold", body, content_type="application/json")
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "/reason"), body


def test_no_token_holds_or_releases(api, engineer, node):
    client = api(engineer)
    for action in ("hold", "release"):
        answer = client.post(f"{URL}/gpu-01/{action}", {"reason": "fan"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing"), action
    assert Node.objects.get().held_at is None


def test_nobody_sees_nothing(client, node):
    assert client.get(URL).status_code == 401
