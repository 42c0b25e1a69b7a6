"""Pages and REST of snapshots, and what a schedule of the plane submits."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict, Invalid
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.targets import SCHEDULE_TARGETS
from apps.site.snapshots import services
from apps.site.snapshots.models import SnapshotOperation
from tests.apps.site.snapshots.conftest import DISPATCHER, store_snapshot

pytestmark = pytest.mark.django_db
PAGE, API = "/snapshots", "/api/v1/snapshots"


def test_empty_plane_says_what_to_do_next(web, sysadmin, settings):
    assert "SNAPSHOT_DESTINATIONS=main=" in web(sysadmin).get(PAGE).content.decode()
    settings.ENV = settings.ENV.model_copy(update={"snapshot_destinations": ["main=file:///nowhere"]})
    text = web(sysadmin).get(PAGE).content.decode()
    assert "target=snapshot" in text
    assert "plane snapshot create" in text


def test_administrator_creates_and_tries_one(web, sysadmin, actor):
    client = web(sysadmin)
    snapshot = store_snapshot(actor)
    page = f"{PAGE}/{snapshot.pk}"
    text = client.get(page).content.decode()
    assert "never restored" in text
    assert "Never tried" in client.get(PAGE).content.decode()
    for word in "verify", "drill", "remove":
        assert client.post(f"{page}/{word}", {"reason": "old"}).status_code == 302
    assert client.post(f"{PAGE}/new", {"destination": "vault"}).status_code == 302
    assert "already" in client.post(f"{PAGE}/new", {"destination": "vault"}, follow=True).content.decode()
    kinds = SnapshotOperation.objects.exclude(state="succeeded").order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["verify", "drill", "remove", "create"]


def test_drill_and_damage_are_shown(web, auditor, actor):
    snapshot = store_snapshot(actor)
    services.request_drill(actor=actor)
    operation = services.claim_operation(actor=DISPATCHER)
    result = {"rto_seconds": 42.0, "rpo_seconds": 3600.0, "sealed": 7, "artifacts": 3, "job": "succeeded"}
    services.finish_operation(actor=DISPATCHER, operation=operation, result=result)
    text = web(auditor).get(PAGE).content.decode()
    assert "The last restore drill passed" in text
    assert "42" in text
    services.request_drill(actor=actor)
    operation = services.claim_operation(actor=DISPATCHER)
    services.finish_operation(actor=DISPATCHER, operation=operation, error=OSError(28, ""))
    assert "The last restore drill failed" in web(auditor).get(PAGE).content.decode()
    services.record_verification(actor=DISPATCHER, snapshot=snapshot, damaged=["ab"])
    text = web(auditor).get(f"{PAGE}/{snapshot.pk}").content.decode()
    assert "1 object is damaged" in text
    assert "Start restore drill" not in text


def test_strangers_see_nothing(web, engineer, actor):
    snapshot = store_snapshot(actor)
    client = web(engineer)
    answers = [client.get(PAGE), client.get(f"{PAGE}/{snapshot.pk}"), client.post(f"{PAGE}/new")]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert f'href="{PAGE}"' not in client.get("/nodes").content.decode()


def test_rest_reads_with_a_token_and_writes_in_a_session(api, make_token, web, auditor, sysadmin, project, actor):
    snapshot = store_snapshot(actor)
    client = api(make_token(auditor, project, ["audit:read"])[0])
    item = client.get(API).json()["items"][0]
    assert (item["id"], item["state"], item["drilled_at"]) == (snapshot.pk, "stored", None)
    assert client.get(f"{API}/{snapshot.pk}/operations").json()["items"][0]["kind"] == "create"
    assert client.get(f"{API}/999").status_code == 404
    assert client.post(API, {}).status_code == 403
    session = web(sysadmin)
    post = {"content_type": "application/json"}
    assert session.post(f"{API}/{snapshot.pk}/operations", {"kind": "drill"}, **post).status_code == 202
    assert session.post(f"{API}/{snapshot.pk}/operations", {"kind": "drill"}, **post).status_code == 409
    assert session.post(f"{API}/{snapshot.pk}/operations", {"kind": "bake"}, **post).status_code == 422
    assert session.post(API, {"destination": "nowhere"}, **post).json()["error"]["field"] == "destination"
    assert session.post(API, {}, **post).status_code == 202


def test_schedules_submit_snapshots_and_drills(actor, web, sysadmin):
    snapshots, drills, verifications = (
        SCHEDULE_TARGETS[key] for key in ("snapshot", "restore_drill", "snapshot_verify")
    )
    snapshots.validate(actor, None, {"destination": "vault"})
    for target, body in (snapshots, {"place": 1}), (snapshots, {"destination": 1}), (drills, {"snapshot": 1}):
        with pytest.raises(Invalid):
            target.validate(actor, None, body)
    for target in drills, verifications:
        with pytest.raises(Conflict):
            target.submit(actor, None, {}, "key")
    pk = snapshots.submit(actor, None, {"destination": "vault"}, "key")
    assert snapshots.is_active(pk)
    stored = store_snapshot(actor)
    assert drills.submit(actor, None, {}, "key") == stored.pk
    assert (snapshots.is_active(stored.pk), drills.is_active(stored.pk)) == (False, True)
    assert snapshots.copy_request(actor, None, pk) == {"destination": "vault"}
    assert verifications.submit(actor, None, {}, "key") == stored.pk
    assert (verifications.is_active(stored.pk), verifications.is_active(pk)) == (True, False)
    form = {"name": "weekly", "target": "snapshot", "cron": "0 2 * * 0", "timezone": "UTC", "request": "{}"}
    answer = web(sysadmin).post("/schedules/new", {**form, "overlap": "skip", "catch_up": "last"})
    assert answer.status_code == 302, answer.content.decode()
    assert Schedule.objects.get().target == "snapshot"
    assert "No schedule creates snapshots" not in web(sysadmin).get(PAGE).content.decode()
