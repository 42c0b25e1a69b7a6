from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.jobs import doorbell, services
from apps.jobs.models import Job
from apps.jobs.submission import Submission
from controlplane import context


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def submit(actor_for, engineer, project):
    asked = {"kind": "noop", "spec": {}}
    return lambda **more: services.submit_job(
        actor=actor_for(engineer), project=project, asked=Submission(**asked, **more)
    )[0]


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


@pytest.mark.parametrize("url", ["/", "/p/demo/"])
def test_home_costs_the_same_for_five_and_fifty(url, engineer, web, submit):
    def many(count, state):
        for _ in range(count):
            submit()
        Job.objects.filter(state="queued").update(state=state, ended_at=timezone.now())

    client = web(engineer)
    many(3, "failed"), many(3, "running"), submit()
    few = queries_of(client, url)
    many(3, "failed"), many(40, "running")
    assert queries_of(client, url) == few < 20


def test_a_failure_of_yesterday_is_news_an_older_one_is_not(engineer, web, submit):
    job, old = submit(name="the new one"), submit(name="the old one")
    Job.objects.filter(pk=job.pk).update(state="failed", ended_at=timezone.now(), error={"message": "It broke."})
    Job.objects.filter(pk=old.pk).update(state="failed", ended_at=timezone.now() - timedelta(days=3))
    text = text_of(web(engineer).get("/"))
    assert "<b>1 job failed</b>" in text
    assert "It broke." in text
    assert "the old one" not in text


def test_the_moving_part_renews_itself_alone(engineer, web, submit):
    submit(name="in line")
    answer = web(engineer).get("/", headers={"HX-Request": "true", "X-Plane-Poll": "1"})
    assert "in line" in text_of(answer)
    assert "<html" not in text_of(answer)


@pytest.mark.parametrize(
    ("who", "leads", "hides"),
    [
        ("sysadmin", ["/people", "/nodes"], ["/p/demo/jobs"]),
        ("secadmin", ["/people"], ["/nodes", "/audit"]),
        ("auditor", ["/audit", "/nodes"], ["/p/demo/jobs"]),
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
    from apps.nodes.models import Node

    Node.objects.create(name="gpu-07", host="gpu-07")
    text = text_of(web(sysadmin).get("/"))
    assert "Bring the node gpu-07 back" in text
    assert '<span class="count"' in text


def test_the_frame_survives_a_dead_database(engineer, web, monkeypatch, rf):
    def dead(actor):
        raise DatabaseError("gone")

    monkeypatch.setattr(context, "lamps", dead)
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
