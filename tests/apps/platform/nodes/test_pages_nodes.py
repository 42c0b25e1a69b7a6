from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, QueueSample
from apps.platform.nodes.models import Node, NodeSample

GB = 10**9
TABS = ["", "/jobs", "/hardware", "/audit"]


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, where: str) -> int:
    client.get(where)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(where).status_code == 200
    return len(seen)


@pytest.fixture
def add_job(project, node):
    """add_job(**columns) -> a job that runs on the node."""

    def add(**columns) -> Job:
        facts = {"project": project, "kind": "noop", "spec": "{}", "queue": "cpu", "time_limit_seconds": 9, "grant": {}}
        facts |= {"node": node, "state": "running", "claimed_at": timezone.now()}
        return Job.objects.create(**facts | columns)

    return add


@pytest.fixture
def measured(node):
    """The node with a GPU and four samples of the last two minutes."""
    gpu = {"index": 0, "name": "A100", "memory_bytes": 40 * GB, "driver": "550", "uuid": "GPU-1"}
    use = {"index": 0, "busy": 0.42, "memory_free_bytes": 30 * GB, "memory_bytes": 40 * GB}
    load = {"cpu_share": 0.07, "memory_total_bytes": 64 * GB, "memory_free_bytes": 48 * GB, "disk_free_bytes": 5 * GB}
    Node.objects.filter(pk=node.pk).update(gpus=[gpu], queues=["cpu", "gpu"], load={**load, "gpus": [use]})
    card = {"index": 0, "busy": 0.42, "memory_used_bytes": 10 * GB, "memory_bytes": 40 * GB, "temperature": 61}
    for number in range(4):
        at = timezone.now() - timedelta(seconds=120 - 15 * number)
        NodeSample.objects.create(node=node, at=at, cpu_share=0.5, memory_used_bytes=16 * GB, gpus=[card])
    return node


# -- the list -------------------------------------------------------------------------------------------------------
def test_the_list_costs_the_same_for_five_and_fifty(engineer, web, node):
    client = web(engineer)
    Node.objects.bulk_create(Node(name=f"n{n}", host="h") for n in range(4))
    few = queries_of(client, "/nodes")
    Node.objects.bulk_create(Node(name=f"n{n}", host="h", queues=["cpu", f"q{n}"]) for n in range(4, 49))
    assert queries_of(client, "/nodes") == few < 20


def test_the_answer_counts_nodes_that_take_jobs(engineer, web, node, heard_of):
    client = web(engineer)
    for seconds, word in ((0, "<b>1 of 1 node</b>"), (60, "<b>1 offline</b>")):
        heard_of(node, seconds)
        assert word in text_of(client.get("/nodes"))


def test_the_answer_tells_what_is_free(engineer, web, measured, add_job):
    add_job(need_cpus=3, need_memory_bytes=4 * 2**30, need_gpus=1, devices=[0])
    said = text_of(web(engineer).get("/nodes"))
    assert "<b>13 CPUs, 64.4 GB</b>" in said
    assert "<b>0 of 1 GPU</b>" in said
    assert "7 % in use" in said
    assert "5.0 GB" in said


def test_short_disk_is_named_on_list_and_page(engineer, web, measured):
    client, short = web(engineer), [{"name": "store", "free_bytes": 1_500_000, "needed_bytes": 4_500_000}]
    assert "short of disk" not in text_of(client.get("/nodes"))
    Node.objects.filter(pk=measured.pk).update(load={**measured.load, "short_disks": short})
    listed, page = text_of(client.get("/nodes")), text_of(client.get(f"/nodes/{measured.name}"))
    assert "<b>0 of 1 node</b> ready for jobs, <b>1 short of disk</b>" in listed
    assert 'title="1.5 MB free for the store, 4.5 MB needed"' in listed
    assert "It is short of disk: 1.5 MB free for the store, 4.5 MB needed." in page


def test_heartbeat_of_the_future_is_none(engineer, web, node, heard_of):
    """The clock was set back after the worker had died."""
    heard_of(node, -3600)
    assert "<b>1 offline</b>" in text_of(web(engineer).get("/nodes"))


def test_filters(engineer, web, measured):
    client = web(engineer)
    row = f'id="node-{measured.pk}"'
    shown = {query: row in text_of(client.get(f"/nodes?{query}")) for query in ("q=GPU", "q=x", "queue=gpu", "queue=z")}
    assert shown == {"q=GPU": True, "q=x": False, "queue=gpu": True, "queue=z": False}
    assert client.get("/nodes?status=asleep").status_code == 422


def test_sort_orders(engineer, web, db):
    for name, cpus in (("a", 2), ("b", 8), ("c", 4)):
        Node.objects.create(name=name, host="h", cpus=cpus)
    client, first = web(engineer), {}
    expected = {"name": "a", "-name": "c", "-cpus_free": "b", "cpus": "a", "jobs": "a", "": "a"}
    for sort in expected:
        text = text_of(client.get(f"/nodes?sort={sort}"))
        first[sort] = min("abc", key=lambda name: text.index(f'href="/nodes/{name}"'))
    assert first == expected


def test_another_order_is_said(engineer, web, node):
    answer = web(engineer).get("/nodes?sort=colour")
    assert answer.status_code == 422
    assert "colour" in text_of(answer)


def test_pages_of_fifty(engineer, web, db):
    Node.objects.bulk_create(Node(name=f"n{n:03}", host="h") for n in range(60))
    client = web(engineer)
    first = client.get("/nodes")
    assert text_of(first).count('id="node-') == 50
    last = client.get("/nodes", {"cursor": first.context["page"].next})
    assert [row.node.name for row in last.context["rows"]] == [f"n{n:03}" for n in range(50, 60)]
    assert client.get("/nodes?cursor=x").status_code == 400


def test_columns_are_picked_and_the_rest_left_out(engineer, web, measured):
    said = text_of(web(engineer).get("/nodes?columns=cpus,memory"))
    assert '<td class="n" data-l="CPUs in all">16</td>' in said
    assert 'data-l="Queues"' not in said


def test_states_are_ordered_by_availability(engineer, web, db):
    now, client = timezone.now(), web(engineer)
    for name, heard, held in (("c", None, None), ("b", now, now), ("a", now, None)):
        Node.objects.create(name=name, host="h", heartbeat_at=heard, held_at=held)
    for sort, names in (("state", "abc"), ("-state", "cba")):
        rows = client.get(f"/nodes?sort={sort}").context["rows"]
        assert "".join(row.node.name for row in rows) == names


def test_the_list_is_taken_away_whole_and_recorded(engineer, web, measured):
    Node.objects.bulk_create(Node(name=f"n{n:03}", host="h") for n in range(60))
    answer = web(engineer).get("/nodes?format=csv&columns=state,queues,gpus_free&sort=-gpus_free")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines[:2] == ["name,state,gpus_free,queues", 'gpu-01,online,1,"cpu, gpu"']
    assert len(lines) == 62
    assert AuditRecord.objects.filter(action="list.export", object_id="nodes").count() == 1


def test_says_why_the_first_of_each_queue_waits(engineer, web, node, add_job, other_project):
    Node.objects.update(queues=["cpu"])
    running = add_job(need_cpus=16)
    mine = add_job(state="queued", node=None, need_cpus=1, queued_at=timezone.now())
    theirs = add_job(state="queued", node=None, queue="gpu", project=other_project, queued_at=timezone.now())
    said = text_of(web(engineer).get("/nodes"))
    assert f"#{mine.pk} noop" in said
    assert f"once these end:</span> #{running.pk}" in said.replace("once these end: #", "once these end:</span> #")
    assert "No node that serves the queue gpu is online." in said
    assert f"#{theirs.pk}" not in said


@pytest.mark.parametrize(("seconds", "worn"), [(0, "succeeded"), (600, "held")])
def test_an_empty_queue_that_nobody_serves_is_no_good_sign(engineer, web, node, heard_of, seconds, worn):
    Node.objects.update(queues=["cpu"])
    heard_of(node, seconds)
    queue = text_of(web(engineer).get("/nodes")).partition('aria-labelledby="why"')[2].partition("</section>")[0]
    assert f'<li class="{worn}">' in queue
    assert ("no node that serves it is online" in queue) == (worn == "held")


@pytest.mark.parametrize(
    ("seconds", "worn", "shown"),
    [(0, "succeeded", ["1 running", "7 % in use", "5.0 GB"]), (60, "held", ["0 running, 1 on an offline node"])],
)
def test_what_an_offline_node_measured_last_is_not_told_as_if_now(
    seconds, worn, shown, engineer, web, measured, add_job, heard_of
):
    Node.objects.update(queues=["cpu"])
    add_job(need_cpus=1)
    heard_of(measured, seconds)
    said = text_of(web(engineer).get("/nodes?columns=state,cpus_free,memory_free,disk_free"))
    told = ["1 running", "0 running, 1 on an offline node", "7 % in use", "5.0 GB", "not heard of since"]
    silent = ["not heard of since"] if seconds else []
    assert [words for words in told if words in said] == sorted([*shown, *silent], key=told.index)
    queue = said.partition('aria-labelledby="why"')[2]
    assert f'<li class="{worn}">' in queue


def test_queues_over_time(engineer, web, node):
    for minute in (3, 2, 1):
        at = timezone.now() - timedelta(minutes=minute)
        QueueSample.objects.create(queue="cpu", at=at, queued=minute, running=1)
    assert text_of(web(engineer).get("/nodes?span=1h")).count('class="chart') >= 3


# -- one node -------------------------------------------------------------------------------------------------------
def test_every_tab_opens_and_costs_the_same_for_any_number_of_jobs(engineer, web, measured, add_job):
    client, ended, counts = web(engineer), {"state": "succeeded", "ended_at": timezone.now()}, []
    for jobs in (1, 12):
        for _ in range(jobs):
            add_job(), add_job(**ended)
        counts.append({tab: queries_of(client, f"/nodes/gpu-01{tab}") for tab in TABS})
    assert counts[0] == counts[1]
    assert max(counts[1].values()) < 20


def test_draws_what_was_used(engineer, web, measured):
    client = web(engineer)
    said = text_of(client.get("/nodes/gpu-01"))
    assert "GPU temperature" in said
    assert "Nothing was measured" not in said
    NodeSample.objects.all().delete()
    assert "Nothing was measured" in text_of(client.get("/nodes/gpu-01?span=24h"))


def test_the_numbers_are_a_file(engineer, web, measured):
    answer = web(engineer).get("/nodes/gpu-01/samples.csv?span=1h")
    head, *rows = text_of(answer).splitlines()
    assert head.startswith("at,cpu_share,memory_used_bytes")
    assert head.endswith("gpu0_temperature")
    assert rows[0].split(",")[1] == "0.5"
    assert rows[0].endswith(",61.0")
    assert 'filename="node-gpu-01-1h.csv"' in answer["Content-Disposition"]


def test_jobs_of_other_projects_have_no_name(engineer, web, node, add_job, other_project):
    mine, theirs = add_job(name="mine-x"), add_job(name="theirs-x", project=other_project)
    ended = add_job(name="ended-x", project=other_project, state="failed", ended_at=timezone.now())
    said = text_of(web(engineer).get("/nodes/gpu-01/jobs"))
    assert f"#{mine.pk}" in said
    assert "mine-x" in said
    assert not any(word in said for word in ("theirs-x", "ended-x", f"#{theirs.pk}<", f"#{ended.pk}<"))


def test_names_are_told_apart_by_their_ends(engineer, web, node, add_job):
    name = "breast-cancer-classifier v1 tvm-x86_64 on breast-cancer-holdout-r1"
    add_job(name=name), add_job(name=name, state="succeeded", ended_at=timezone.now())
    assert text_of(web(engineer).get("/nodes/gpu-01/jobs")).count(f">{name}<") == 2


def test_a_held_node_drains_while_jobs_run(engineer, web, node, add_job):
    client, job = web(engineer), add_job()
    assert "<span>Online</span>" in text_of(client.get("/nodes/gpu-01"))
    Node.objects.update(held_at=timezone.now(), held_reason="fan")
    assert "<span>Draining</span>" in text_of(client.get("/nodes/gpu-01"))
    job.delete()
    assert "<span>Held</span>" in text_of(client.get("/nodes/gpu-01"))


def test_a_name_may_end_like_a_tab(engineer, web, db):
    Node.objects.create(name="rack/jobs", host="h")
    client = web(engineer)
    assert client.get("/nodes/rack/jobs").status_code == 200
    assert client.get("/nodes/rack/jobs/hardware").status_code == 200
    assert [client.get(f"/nodes/nobody{tab}").status_code for tab in TABS] == [404] * 4


# -- hold and release -----------------------------------------------------------------------------------------------
def test_hold_and_release(sysadmin, web, node):
    client = web(sysadmin)
    assert client.post("/nodes/gpu-01/hold", {"reason": "new driver"}).url == "/nodes/gpu-01"
    node.refresh_from_db()
    assert node.held_reason == "new driver"
    assert all("new driver" in text_of(client.get(where)) for where in ("/nodes", "/nodes/gpu-01"))
    client.post("/nodes/gpu-01/release")
    node.refresh_from_db()
    assert node.held_at is None


def test_a_hold_without_a_reason_is_said(sysadmin, web, node):
    assert "must not be blank" in text_of(web(sysadmin).post("/nodes/gpu-01/hold", {"reason": " "}, follow=True))
    node.refresh_from_db()
    assert node.held_at is None


def test_holding_requires_a_system_administrator(engineer, auditor, web, node):
    for user in (engineer, auditor):
        client = web(user)
        assert "/nodes/gpu-01/hold" not in text_of(client.get("/nodes/gpu-01"))
        assert client.post("/nodes/gpu-01/hold", {"reason": "no"}).status_code == 403
    node.refresh_from_db()
    assert node.held_at is None


def test_the_button_is_the_administrators(sysadmin, web, node):
    client = web(sysadmin)
    assert "/nodes/gpu-01/hold" in text_of(client.get("/nodes/gpu-01"))
    assert client.get("/nodes/gpu-01/hold").status_code == 405


def test_the_trail_of_a_node_is_the_auditors(sysadmin, auditor, engineer, web, node):
    web(sysadmin).post("/nodes/gpu-01/hold", {"reason": "fan"})
    assert AuditRecord.objects.filter(action="node.hold").exists()
    assert "node.hold" in text_of(web(auditor).get("/nodes/gpu-01/audit"))
    assert "node.hold" not in text_of(web(engineer).get("/nodes/gpu-01/audit"))


# -- how far jobs are locked in ---------------------------------------------------------------------------------------
def test_page_says_how_jobs_are_isolated(engineer, web, node):
    client = web(engineer)
    reason = {"way": "root", "user": 7000, "reason": "/root/python cannot be read by this user"}
    cases = {
        "root": ({"way": "root", "user": 7000}, ["Own files, network and user", "7000 to 8023", "none, hosts"], []),
        "reason": ({"way": "root", "user": None, "why_not": [reason]}, [reason["reason"], "ENGINE_UID"], ["note held"]),
        "user": ({"way": "user", "user": None}, ["Own files and network", "in a user namespace"], ["note held"]),
        "none": ({"way": "none", "networks": []}, ["Jobs are not isolated here.", "user.max_user_namespaces"], []),
        "old": (None, ["did not report it"], ["Own files"]),
    }
    wrong = {}
    for name, (told, said, unsaid) in cases.items():
        facts = {"networks": ["none", "hosts"], "why_not": []} | told if told else None
        Node.objects.filter(pk=node.pk).update(hardware={"isolation": facts} if facts else {})
        page = text_of(client.get(f"/nodes/{node.name}/hardware"))
        if faults := [text for text in said if text not in page] + [text for text in unsaid if text in page]:
            wrong[name] = faults
    assert wrong == {}


def test_page_lists_environments_for_scripts(engineer, web, node):
    client, digest = web(engineer), f"sha256:{'ab' * 32}"
    rows = [
        {"name": "mlflow", "kind": "venv"},
        {"name": "vision", "kind": "image", "digest": digest},
        {"name": "speech", "kind": "image", "reason": "The image /srv/x.tar is for linux/arm64."},
    ]
    Node.objects.filter(pk=node.pk).update(extras=["scripts"], hardware={"environments": rows})
    page = text_of(client.get(f"/nodes/{node.name}/hardware"))
    said = ("Python of the node", "virtual environment", f'<code title="{digest}">abababababab</code>', "linux/arm64")
    assert [text for text in said if text not in page] == []
    Node.objects.filter(pk=node.pk).update(extras=[])
    assert "Environments for scripts" not in text_of(client.get(f"/nodes/{node.name}/hardware"))


def test_overview_warns_of_jobs_that_are_not_isolated(engineer, web, node):
    client = web(engineer)
    warned = {}
    for way in ("none", "user"):
        Node.objects.filter(pk=node.pk).update(hardware={"isolation": {"way": way}})
        warned[way] = "Jobs are not isolated here." in text_of(client.get(f"/nodes/{node.name}"))
    assert warned == {"none": True, "user": False}
