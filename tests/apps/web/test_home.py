from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.platform.jobs import services
from apps.platform.jobs.errors import parent_failed
from apps.platform.jobs.models import Job, JobParent
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.submission import Submission
from apps.platform.nodes.models import Node
from apps.web import context_processors

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def submit(actor_for, engineer, project):
    asked = {"kind": "noop", "spec": {}}
    return lambda **more: services.submit_job(
        actor=actor_for(engineer), project=project, submission=Submission(**asked, **more)
    )[0]


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def test_home_query_counts_do_not_grow(engineer, web, submit):
    def add(count, state):
        for _ in range(count):
            submit()
        Job.objects.filter(state="queued").update(state=state, ended_at=timezone.now())

    client = web(engineer)
    add(3, "failed"), add(3, "running"), submit()
    few = {url: queries_of(client, url) for url in ("/", "/p/demo/")}
    add(3, "failed"), add(10, "running"), submit()
    many = {url: queries_of(client, url) for url in few}
    assert many == few
    assert max(many.values()) < 20


def test_a_failure_of_yesterday_is_news_an_older_one_is_not(engineer, web, submit):
    job, old = submit(name="the new one"), submit(name="the old one: noop")
    Job.objects.filter(pk=job.pk).update(state="failed", ended_at=timezone.now(), error={"message": "It broke."})
    Job.objects.filter(pk=old.pk).update(state="failed", ended_at=timezone.now() - timedelta(days=3))
    text = text_of(web(engineer).get("/"))
    assert "<b>1 job failed</b>" in text
    assert "It broke." in text
    assert f'id="f{old.pk}"' not in text
    assert f"<b>#{job.pk} noop the new one</b>" in text
    Job.objects.filter(pk=old.pk).update(ended_at=timezone.now())
    assert f"<b>#{old.pk} the old one: noop</b>" in text_of(web(engineer).get("/"))


def fail(job, parent=None, **when):
    """`job` failed by itself, or with its `parent`."""
    error = parent_failed(parent) if parent else {"code": "broke"}
    if parent:
        JobParent.objects.get_or_create(parent=parent, child=job)
    Job.objects.filter(pk=job.pk).update(state="failed", ended_at=timezone.now() - timedelta(**when), error=error)
    job.refresh_from_db()


def test_what_failed_with_its_parent_is_counted_beside_it(engineer, web, submit):
    parent, child, grandchild = submit(), submit(), submit()
    fail(parent, minutes=3), fail(child, parent, minutes=2), fail(grandchild, child, minutes=1)
    text = text_of(web(engineer).get("/"))
    assert "<b>3 jobs failed</b>" in text
    assert "2 dependent jobs failed with it." in text
    assert f'id="r{parent.pk}"' in text
    assert f'id="f{child.pk}"' not in text
    assert f'id="f{grandchild.pk}"' not in text


def test_what_failed_with_a_parent_that_is_not_told_leads_to_it_and_is_not_tried_alone(engineer, web, submit):
    parent, child = submit(), submit()
    fail(parent, days=3), fail(child, parent)
    text = text_of(web(engineer).get("/"))
    assert f'id="f{child.pk}"' in text
    assert f'<a href="/p/demo/jobs/{parent.pk}">#{parent.pk}</a>' in text
    assert f'id="r{child.pk}"' not in text


def test_of_all_projects_the_failures_that_are_not_shown_have_links(engineer, web, submit):
    for _ in range(7):
        fail(submit())
    client, day = web(engineer), timezone.localdate() - timedelta(days=1)
    text = text_of(client.get("/"))
    assert "The newest 5 of 7 causes." in text
    assert f'<a href="/p/demo/jobs?state=failed&amp;ended_after={day}">demo 7</a>' in text
    assert len(client.get(f"/p/demo/jobs?state=failed&ended_after={day}").context["rows"]) == 7


def test_what_waits_for_another_job_is_not_in_the_queue(engineer, web, submit):
    for _ in range(3):
        submit()
    Job.objects.exclude(pk=Job.objects.first().pk).update(state="waiting")
    text = text_of(web(engineer).get("/p/demo/"))
    assert "<b>0 jobs</b> running, <b>1</b> queued, <b>2</b> wait for another job." in text
    assert "1 queued, 2 wait for another job</p>" in text


@pytest.mark.parametrize(("seconds", "silent"), [(0, 0), (60, 1)])
def test_a_job_on_an_offline_node_does_not_move(seconds, silent, engineer, web, submit):
    heard = timezone.now() - timedelta(seconds=seconds)
    node = Node.objects.create(name="n1", host="n1", cpus=1, memory_bytes=10**9, heartbeat_at=heard)
    submit()
    Job.objects.update(state="running", node=node, progress={"rate": 7.5, "unit": "steps", "eta_seconds": 90})
    text = text_of(web(engineer).get("/p/demo/"))
    assert ("<b>1 job</b> running" in text) == (not silent)
    assert ("<b>1</b> is on an offline node" in text) == bool(silent)
    assert ("7.5 steps/s" in text) == (not silent)
    assert text.count("<span>Offline</span>") == 2 * silent  # beside the job, and beside the node
    assert text.count("not heard of since") == silent
    assert "1 CPU<" in text


ASKS_AGAIN = {"X-Plane-Poll": "1"}


def mark_in(answer) -> str:
    return text_of(answer).partition('data-mark="')[2].partition('"')[0]


def test_an_open_page_asks_for_its_parts_alone(engineer, web, submit):
    submit(name="in line")
    answer = web(engineer).get("/", headers=ASKS_AGAIN)
    assert "in line" in text_of(answer)
    assert "<html" not in text_of(answer)
    assert 'data-part="nodes"' in text_of(answer)


def test_an_open_page_is_told_when_nothing_has_changed(engineer, web, submit):
    client = web(engineer)
    submit()
    mark = mark_in(client.get("/"))
    assert client.get("/", headers=ASKS_AGAIN | {"If-None-Match": mark}).status_code == 304
    submit()
    assert client.get("/", headers=ASKS_AGAIN | {"If-None-Match": mark}).status_code == 200


def test_a_signed_out_page_that_asks_again_is_not_sent_the_log_in(client, db):
    assert client.get("/", headers=ASKS_AGAIN).status_code == 401
    assert client.get("/").status_code == 302


def test_a_signed_out_click_leads_to_the_log_in_and_back(client, db):
    seen = {"HX-Request": "true", "HX-Current-URL": "http://testserver/nodes?q=gpu"}
    answer = client.get("/nodes", headers=seen)
    assert answer["HX-Redirect"] == "/accounts/login/?next=/nodes%3Fq%3Dgpu"
    answer = client.get("/", headers=seen | {"HX-Current-URL": "http://["})
    assert answer["HX-Redirect"] == "/accounts/login/?next=/"


def test_more_failures_than_anybody_counts_are_not_counted(engineer, web, submit, monkeypatch):
    monkeypatch.setattr("apps.web.home.MAX_FAILURES_COUNTED", 9)
    for _ in range(12):
        submit()
    Job.objects.update(state="failed", ended_at=timezone.now())
    assert "<b>9 jobs or more failed</b>" in text_of(web(engineer).get("/"))


def test_a_project_without_a_model_is_told_its_first_steps(engineer, web, project):
    text = text_of(web(engineer).get("/p/demo/"))
    assert "First steps" in text
    assert "/api/v1/projects/demo/artifacts/$(sha256sum table.csv" in text


def test_the_queue_says_why_it_waits(engineer, web, submit):
    submit()
    assert "Why jobs are queued" in text_of(web(engineer).get("/p/demo/")) or "No node" in text_of(
        web(engineer).get("/")
    )


@pytest.mark.parametrize(
    ("who", "leads", "hides"),
    [
        ("sysadmin", ["/people", "/nodes"], ["/p/demo/jobs"]),
        ("secadmin", ["/people"], ["/nodes", "/audit"]),
        ("auditor", ["/audit", "/nodes", "/compliance", "/security-alarms", "/recertification"], ["/p/demo/jobs"]),
    ],
)
def test_administrators_are_led_to_their_duties(who, leads, hides, request, web, project):
    text = text_of(web(request.getfixturevalue(who)).get("/"))
    assert [url for url in leads if f'href="{url}"' not in text] == []
    assert [url for url in hides if f'href="{url}"' in text] == []


def test_other_projects_are_not_there(stranger, web, submit):
    submit(name="not yours")
    assert "not yours" not in text_of(web(stranger).get("/"))
    assert web(stranger).get("/p/demo/").status_code == 404


def test_the_rail_leads_to_the_project_seen_last(engineer, web, other_project):
    client = web(engineer)
    client.get("/p/demo/")
    assert 'href="/p/demo/jobs"' in text_of(client.get("/"))


def test_a_node_that_is_down_waits_for_the_administrator(sysadmin, web):
    Node.objects.create(name="gpu-07", host="gpu-07")
    text = text_of(web(sysadmin).get("/"))
    assert "Bring the node gpu-07 back" in text
    assert '<span class="count"' in text


def test_the_frame_survives_a_dead_database(engineer, web, monkeypatch, rf):
    def dead(*_):
        raise DatabaseError("gone")

    monkeypatch.setattr(context_processors, "build_lamps", dead)
    assert web(engineer).get("/account").status_code == 200


@pytest.mark.django_db
def test_a_stranger_fills_no_disk(settings, tmp_path):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "a" * 32
    answer = client.post("/p/demo/upload", {"file": SimpleUploadedFile("big.csv", b"x" * 5000)})
    assert answer.status_code == 413
    assert list(tmp_path.iterdir()) == []
