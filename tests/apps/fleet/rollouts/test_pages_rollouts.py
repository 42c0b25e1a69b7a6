"""The pages of rollouts: the list, a new one, one with its waves and evidence, its devices, and the approver's view."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.fleet.rollouts.models import Rollout, RolloutDevice
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.services import request_decision, request_start, start_rollout
from tests.apps.fleet.rollouts.looks import add_look

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/rollouts{tail}"


def read(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


@pytest.fixture
def running(approved_rollout, actor_for, engineer):
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    columns = {"counts": {"installed": 1, "failed": 1}, "looks": 1, "verdict": "hold"}
    rollout.waves.filter(position=0).update(**columns, next_look_at=timezone.now() + timedelta(minutes=5))
    return rollout


def test_plan_preview_and_request(page, web, engineer, fleet, second_version, add_samples):
    client = web(engineer)
    assert "No rollouts yet" in read(client.get(page()))
    form = read(client.get(page("/new")))
    assert f"{second_version.model.name} v{second_version.number}" in form
    assert "20 active devices" in read(client.get(page("/new/selection?query=tag.site IN ('site 0', 'site 1')")))
    assert "not valid yet" in read(client.get(page("/new/selection?query=tag.")))
    values = {
        "version": f"{second_version.model.name}:{second_version.number}",
        "waves": "20 %\n5\n100 %",
        "install_limit": "10",
        "metric_1": "latency_ms",
        "margin_1": "5",
        **{"soak_hours": "1", "wave_hours": "72", "look_minutes": "15", "approve_after": "first"},
        **{"attempts": "2", "deadline_hours": "24", "windows": "mon, tue 22:00 360", "time_zone": "Europe/Berlin"},
    }
    preview = read(client.post(page("/new"), {**values, "op": "preview"}))
    assert "Reaches 20 devices ." in preview
    assert "4 canary devices prove nothing about rare failures." in preview
    assert not Rollout.objects.exists()
    answer = client.post(page("/new"), {**values, "op": "submit"})
    rollout = Rollout.objects.get()
    assert answer.url == page(f"/{rollout.pk}")
    plan = read_plan(rollout.plan)
    assert [wave.model_dump(exclude_none=True) for wave in plan.waves] == [{"share": 0.2}, {"count": 5}, {"share": 1.0}]
    assert [gate.margin for gate in plan.canary.gates] == [None, 5.0]
    assert (plan.schedule.windows[0].days, plan.canary.soak_seconds) == (["mon", "tue"], 3600)
    draft = read(client.get(page(f"/{rollout.pk}")))
    assert "latency_ms: roll back where it is worse; go on once it is shown to be worse by less than 5." in draft
    assert "Reaches 20 devices" in read(client.get(page(f"/{rollout.pk}/preview")))
    client.post(page(f"/{rollout.pk}/request-start"), {"reason": "It is faster."})
    rollout.refresh_from_db()
    assert (rollout.state, rollout.approval.comment) == ("awaiting_approval", "It is faster.")
    assert "Awaiting approval" in read(client.get(page()))


def test_errors_stand_beside_their_fields(page, web, engineer, fleet, second_version):
    """Each wrong value, and the field whose error the page shows."""
    name = f"{second_version.model.name}:{second_version.number}"
    good = {"version": name, "waves": "100 %", "install_limit": "10", "approve_after": "none", "time_zone": "UTC"}
    good |= {"soak_hours": "1", "wave_hours": "72", "look_minutes": "15", "attempts": "2", "deadline_hours": "24"}
    cells = {
        "version": "",
        "waves": "half of them",
        "query": "tag.",
        "install_limit": "200",
        "soak_hours": "long",
        "start_at": "soon",
        "windows": "sometimes",
        "time_zone": "Berlin",
        "attempts": "0",
        "variant_x86_64": "none-such",
        "stratify_by": "site",
    }
    wrong = {}
    for field, value in cells.items():
        answer = web(engineer).post(page("/new"), {**good, field: value, "op": "submit"})
        if answer.status_code != 422 or not answer.context["form"].errors.get(field):
            wrong[field] = (answer.status_code, answer.context["form"].errors, answer.context["form"].error)
    assert wrong == {}


def test_waves_evidence_and_devices(page, web, viewer, running):
    add_look(running)
    client = web(viewer)
    text = read(client.get(page(f"/{running.pk}")))
    assert "1 of 20 devices have it" in text
    assert "Evidence of wave 1" in text
    assert "look 1" in text
    assert "2 canary devices prove nothing about rare failures" in text, "that many were planned"
    assert "So far 0 of 12 failed" in text
    assert "Boundary of harm" in text
    assert "Roll back every device?" not in text, "a viewer does nothing"
    assert "Not evaluated yet." in read(client.get(page(f"/{running.pk}?wave=1")))
    listed = read(client.get(page(f"/{running.pk}/devices?wave=0&stage=planned")))
    names = list(RolloutDevice.objects.filter(wave__position=0).values_list("device__name", flat=True))
    assert all(name in listed for name in names)
    assert client.get(page(f"/{running.pk}/devices?stage=odd")).status_code == 422
    assert client.get(page(f"/{running.pk}/devices?format=csv")).status_code == 200


def test_pause_resume_and_roll_back(page, web, engineer, approver, running):
    client, path = web(engineer), page(f"/{running.pk}")
    for move, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted"), ("pause", "aborted")):
        client.post(f"{path}/{move}", {"reason": "It rattles."})
        running.refresh_from_db()
        assert running.state == state
    assert "is aborted" in read(client.get(path)), "the pause was refused, and says why"
    web(approver).post(f"{path}/roll-back", {"reason": "It rattles."})
    running.refresh_from_db()
    assert running.state == "rolling_back"
    assert "have gone back" in read(client.get(path))


def test_retry_counts_devices(page, web, engineer, running):
    RolloutDevice.objects.filter(wave__position=0).update(stage="failed", code="disk_full")
    answer = web(engineer).post(page(f"/{running.pk}/retry"), {"reason": ""}, follow=True)
    assert "2 devices try again." in read(answer)


def test_who_may_not(page, web, viewer, stranger, running):
    assert web(stranger).get(page(f"/{running.pk}")).status_code == 404
    assert web(viewer).get(page("/new")).status_code == 403
    moves = ("request-start", "request-decision", "start", "pause", "resume", "abort", "retry", "roll-back")
    answers = {move: web(viewer).post(page(f"/{running.pk}/{move}"), {"reason": "x"}).status_code for move in moves}
    assert answers == dict.fromkeys(moves, 403)


def test_the_approver_sees_figures_plan_and_way_back(web, approver, create, fleet, actor_for, engineer, project):
    rollout = request_start(actor=actor_for(engineer), rollout=create(), comment="Please.")
    text = read(web(approver).get(f"/p/{project.slug}/approvals/{rollout.approval_id}"))
    for words in (
        "Now, on most devices",
        "Reaches 20 devices",
        "2 canary devices prove nothing about rare failures",
        "Intervals, v2 above",
        "20 devices to",
        "Approve, let it start",
        "Reject, no device changes",
        "engineer says",
    ):
        assert words in text, words


def test_the_approver_sees_the_canary_so_far(web, approver, running, actor_for, engineer, project):
    add_look(running)
    Rollout.objects.filter(pk=running.pk).update(state="held")
    running.refresh_from_db()
    decided = request_decision(actor=actor_for(engineer), rollout=running)
    text = read(web(approver).get(f"/p/{project.slug}/approvals/{decided.decision_id}"))
    for words in ("The canary so far: wave 1", "latency_ms", "Boundary of no worse", "Approve, go on to 8 devices"):
        assert words in text, words
