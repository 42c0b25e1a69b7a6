"""Schedules of the plane as a whole: who may, what they submit, by pages, REST and the operator's command."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.calendars import services
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.queries import get_schedule
from apps.platform.calendars.targets import SCHEDULE_TARGETS, ScheduleTarget, TargetScope
from apps.platform.notices.models import Notice
from tests.apps.platform.calendars.conftest import FIELDS, NIGHT

pytestmark = pytest.mark.django_db
PLANE_FIELDS = {**FIELDS, "target": "count", "request": {"to": 3}}


@pytest.fixture
def submitted():
    """What a plane-wide target submits: [(who, project, request)]."""
    rows = []

    def validate(actor, project, body):
        if "to" not in body:
            raise Invalid("It counts to nothing.", field="/to")

    def submit(actor, project, body, key):
        validate(actor, project, body)
        rows.append((actor.label, project, body))
        return len(rows)

    target = ScheduleTarget(
        label="Count",
        action="node.hold",
        validate=validate,
        submit=submit,
        is_active=lambda pk: False,
        cancel=lambda actor, pk, reason: None,
        copy_request=lambda actor, project, pk: {"to": pk},
        url_name="jobs:kind",
        scope=TargetScope.PLANE,
        example={"to": 9},
    )
    with SCHEDULE_TARGETS.override({**SCHEDULE_TARGETS, "count": target}):
        yield rows


@pytest.fixture
def plane_schedule(submitted, actor_for, sysadmin):
    made = services.create_schedule(actor=actor_for(sysadmin), project=None, **PLANE_FIELDS)
    Schedule.objects.update(next_at=NIGHT)
    made.refresh_from_db()
    return made


def test_it_submits_with_the_rights_of_its_administrator(plane_schedule, submitted, fire, sysadmin):
    assert fire() == 1
    assert submitted == [("sysadmin", None, {"to": 3})]
    sysadmin.system_role = ""
    sysadmin.save()
    Schedule.objects.update(next_at=NIGHT)
    fire()
    assert plane_schedule.occurrences.order_by("-id").first().outcome == "failed"
    assert "of the plane" in Notice.objects.get(recipient=sysadmin).message["message"]


def test_who_may(plane_schedule, actor_for, engineer, secadmin, auditor, sysadmin, project):
    def outcome(person, act):
        try:
            act(actor_for(person))
        except PlaneError as failure:
            return failure.code
        return "yes"

    acts = {
        "create": lambda actor: services.create_schedule(actor=actor, project=None, **{**PLANE_FIELDS, "name": "b"}),
        "update": lambda actor: services.update_schedule(actor=actor, schedule=plane_schedule, cron="@daily"),
        "pause": lambda actor: services.pause_schedule(actor=actor, schedule=plane_schedule),
        "resume": lambda actor: services.resume_schedule(actor=actor, schedule=plane_schedule),
        "delete": lambda actor: services.delete_schedule(actor=actor, schedule=plane_schedule),
    }
    for person in (engineer, secadmin, auditor):
        assert {name: outcome(person, act) for name, act in acts.items()} == dict.fromkeys(acts, "refused")
    assert {name: outcome(sysadmin, act) for name, act in acts.items()} == dict.fromkeys(acts, "yes")
    assert AuditRecord.objects.filter(action="schedule.delete", project_id=None).count() == 1


def test_targets_stay_in_their_scope(plane_schedule, create, actor_for, sysadmin, engineer):
    with pytest.raises(Invalid) as refusal:
        create(target="count")
    assert refusal.value.field == "target"
    with pytest.raises(Invalid) as refusal:
        services.create_schedule(actor=actor_for(sysadmin), project=None, **{**FIELDS, "name": "b"})
    assert (refusal.value.field, "count" in refusal.value.limit) == ("target", True)
    with pytest.raises(Invalid) as refusal:
        services.update_schedule(actor=actor_for(sysadmin), schedule=plane_schedule, request={})
    assert refusal.value.field == "/request/to"
    with pytest.raises(Invalid) as refusal:  # the request is not of the new target
        services.update_schedule(actor=actor_for(sysadmin), schedule=plane_schedule, target="probe")
    assert refusal.value.field == "/request/to"
    with pytest.raises(Conflict) as refusal:
        services.create_schedule(actor=actor_for(sysadmin), project=None, **PLANE_FIELDS)
    assert refusal.value.code == "name_taken"


def test_pages(plane_schedule, web, sysadmin, auditor, engineer):
    client = web(sysadmin)
    form = client.get("/schedules/new?target=count&cron=@weekly").content.decode()
    assert "&quot;to&quot;: 9" in form
    assert "@weekly" in form
    fields = {**PLANE_FIELDS, "name": "weekly", "request": '{"to": 1}', "overlap": "skip", "catch_up": "last"}
    made = client.post("/schedules/new", fields)
    page = f"/schedules/{Schedule.objects.get(name='weekly').pk}"
    assert (made.status_code, made["Location"]) == (302, page)
    assert client.post("/schedules/new", {**fields, "name": "x", "request": "{}"}).status_code == 422
    assert client.post(f"{page}/pause", {"reason": "later"})["Location"] == page
    assert "Paused: nothing is submitted." in client.get(page).content.decode()
    rows = web(auditor).get("/schedules").content.decode()
    assert f'href="{page}"' in rows
    assert "New schedule" not in rows
    client.post(f"{page}/resume")
    assert client.post(f"{page}/delete")["Location"] == "/schedules"
    answers = [web(engineer).get(path).status_code for path in ("/schedules", page, "/schedules/new")]
    assert answers == [403, 403, 403]
    other = Schedule.objects.get().pk
    assert web(engineer).get(f"/p/demo/schedules/{other}").status_code == 404


def test_rest(plane_schedule, web, sysadmin, engineer, api):
    client = web(sysadmin)
    url = "/api/v1/schedules"
    body = json.dumps({**PLANE_FIELDS, "name": "weekly"})
    made = client.post(url, body, content_type="application/json")
    assert (made.status_code, len(made.json()["next_times"])) == (201, 5)
    at = f"{url}/{made.json()['id']}"
    assert client.patch(at, '{"cron": "@hourly"}', content_type="application/json").json()["cron"] == "0 * * * *"
    assert client.post(f"{at}/pause", "{}", content_type="application/json").json()["state"] == "paused"
    assert client.post(f"{at}/resume").json()["state"] == "active"
    assert [row["name"] for row in client.get(url).json()["items"]] == ["weekly", "nightly"]
    assert client.get(f"{at}/occurrences").json()["items"] == []
    assert client.get(f"{url}/preview?cron=@daily").json()["cron"] == "0 0 * * *"
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert api(engineer).get(url).status_code == 403


def test_the_operators_command(submitted, fire, sysadmin, tmp_path):
    def run(*words, **options):
        out = StringIO()
        call_command("schedule", *words, stdout=out, **options)
        return out.getvalue()

    assert "created weekly" in run("create", "weekly", target="count", cron="@weekly")
    assert "0 0 * * 0" in run("ls")
    path = tmp_path / "request.json"
    path.write_text('{"to": 5}')
    run("update", "weekly", cron="30 2 * * *", request=path)
    Schedule.objects.update(next_at=NIGHT)
    fire()
    assert submitted == [("operator", None, {"to": 5})]
    path.write_text("[]")
    cells = {
        "no JSON object": ("update", "weekly", {"request": path}),
        "no schedule": ("pause", "other", {}),
        "no target": ("create", "b", {"cron": "@daily", "target": "nothing"}),
    }
    for action, name, options in cells.values():
        with pytest.raises(CommandError) as failure:
            run(action, name, **options)
        assert failure.value.returncode == 2
    run("rm", "weekly")
    assert not Schedule.objects.exists()


def test_none_is_there_for_another_project(plane_schedule, actor_for, engineer, project):
    with pytest.raises(NotFound):
        get_schedule(actor_for(engineer), project, plane_schedule.pk)
    with pytest.raises(Refused):
        get_schedule(actor_for(engineer), None, plane_schedule.pk)
