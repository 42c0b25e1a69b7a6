"""The pages of schedules."""

import json

import pytest

from apps.platform.calendars.models import Schedule
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
LIST = "/p/demo/schedules"


def read(answer) -> str:
    return answer.content.decode()


def test_a_job_becomes_a_schedule_and_its_times_are_listed(web, engineer, schedule, fire):
    fire()
    client, job = web(engineer), Job.objects.get()
    form = read(client.get(f"{LIST}/new?target=job&from={job.pk}"))
    assert "&quot;kind&quot;: &quot;noop&quot;" in form
    fields = {"name": "weekly", "target": "job", "request": json.dumps({"kind": "noop", "spec": {}})}
    fields |= {"cron": "@weekly", "timezone": "Asia/Shanghai", "overlap": "allow", "catch_up": "none"}
    made = client.post(f"{LIST}/new", fields)
    page = f"{LIST}/{Schedule.objects.get(name='weekly').pk}"
    assert (made.status_code, made["Location"]) == (302, page)
    assert "Not due yet." in read(client.get(page))
    assert f'href="/p/demo/jobs/{job.pk}"' in read(client.get(f"{LIST}/{schedule.pk}"))
    assert "weekly" in read(client.get(LIST))
    assert client.post(page, {**fields, "cron": "@daily"}).status_code == 302
    client.post(f"{page}/pause", {"reason": "later"})
    assert "Paused: nothing is submitted." in read(client.get(page))
    client.post(f"{page}/resume")
    client.post(f"{page}/delete")
    assert not Schedule.objects.filter(name="weekly").exists()


def test_errors_stand_beside_their_fields(web, engineer, schedule):
    fields = {
        "name": "n",
        "target": "job",
        "cron": "* * * * *",
        "timezone": "UTC",
        "overlap": "skip",
        "catch_up": "last",
    }
    cells = {
        "This is no JSON": {"request": "{"},
        "A request is a JSON object": {"request": "[]"},
        "no cron expression": {"request": '{"kind": "noop"}', "cron": "now"},
        "nonsense": {"request": '{"kind": "noop", "spec": {"nonsense": 1}}'},
        "already": {"request": '{"kind": "noop"}', "name": "nightly"},
    }
    answers = {text: web(engineer).post(f"{LIST}/new", {**fields, **wrong}) for text, wrong in cells.items()}
    wrong = [text for text, answer in answers.items() if answer.status_code != 422 or text not in read(answer)]
    assert wrong == []


def test_a_viewer_sees_and_changes_nothing(web, viewer, stranger, schedule):
    client, page = web(viewer), f"{LIST}/{schedule.pk}"
    assert "<form" not in read(client.get(page)).partition("<main")[2].partition('id="oc"')[0]
    answers = [client.post(f"{page}/{act}").status_code for act in ("pause", "delete")] + [
        client.get(f"{LIST}/new").status_code,
        web(stranger).get(page).status_code,
    ]
    assert answers == [403, 403, 403, 404]
