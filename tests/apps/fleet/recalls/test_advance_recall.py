from __future__ import annotations

import pytest

from apps.fleet.recalls.services import advance_recalls, advancing, retry_recall
from apps.fleet.recalls.services import devices as device_step
from apps.fleet.recalls.states import RecallState
from apps.fleet.releases.models import KeyList, Release
from apps.ml.registry.models import Alias
from apps.platform.audit.models import AuditRecord
from tests.apps.fleet.devices.conftest import states
from tests.apps.fleet.recalls.conftest import DISPATCHER, make_due, outcomes, train_on

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """The process ends here."""


def test_releases_are_revoked_and_devices_sent_back(
    start, advance, releases, returning_device, bad, good, fetch, receive, find_records, engineer
):
    recall = advance(start())
    assert recall.state == RecallState.WATCHING
    assert outcomes(recall, "release") == {str(releases[1]): "revoked"}
    assert outcomes(recall, "alias") == {"wti-forecast production": "rolled_back"}
    assert Alias.objects.get(name="production").version == good.version
    row = recall.devices.get()
    assert (row.outcome, row.to_release.variant, row.to_release.sequence) == ("returning", good, 3)
    assert "by engineer: wrong units" in find_records("device.assign")[-1].body
    fetch(returning_device)
    receive(returning_device, row.to_release, row.assignment)
    assert advance(recall).state == RecallState.COMPLETED
    assert recall.devices.get().outcome == "clear"
    assert states(returning_device)[-1] == "succeeded"


def test_a_device_without_a_previous_release_is_listed_and_quarantined_if_asked(
    start, advance, releases, enrol, install, actor_for, engineer
):
    device = enrol("new")
    install(device, releases[1])
    recall = advance(start())
    assert (recall.state, recall.devices.get().outcome) == (RecallState.WATCHING, "no_previous")
    recall.quarantines = True
    recall.save()
    retry_recall(actor=actor_for(engineer), recall=recall)
    assert advance(recall).state == RecallState.COMPLETED
    device.refresh_from_db()
    assert (device.state, recall.devices.get().outcome) == ("quarantined", "quarantined")
    assert "recall" in device.state_reason


def test_what_is_not_installed_yet_is_taken_back(start, advance, releases, enrol, assign, install, fetch, report):
    waiting, fetching = enrol("waiting"), enrol("fetching")
    for device in (waiting, fetching):
        install(device, releases[0])
        assign(device, releases[1])
    assert fetch(fetching)["assignment"]["action"] == "install"
    recall = advance(start())
    assert states(waiting) == ["succeeded", "cancelled"]
    assert states(fetching) == ["succeeded", "cancelling"]
    assert dict(recall.devices.values_list("device__name", "outcome")) == {"waiting": "clear", "fetching": "stopping"}
    report(fetching, fetching.assignments.last(), "cancelled")
    assert advance(recall).state == RecallState.COMPLETED


def test_a_device_that_does_not_go_back_is_reported_and_tried_again(
    start, advance, returning_device, fetch, report, engineer, actor_for
):
    recall = advance(start())
    fetch(returning_device)
    report(returning_device, recall.devices.get().assignment, "failed", code="disk_full")
    assert advance(recall).devices.get().outcome == "failed"
    retry_recall(actor=actor_for(engineer), recall=recall)
    assert advance(recall).devices.get().outcome == "returning"
    assert Release.objects.count() == 3  # the release to go back to is issued once


def test_a_version_registered_later_is_blocked_too(
    start, advance, returning_device, make_variant, project, dataset_version
):
    recall = advance(start())
    late = make_variant().version
    train_on(project, dataset_version, late)
    assert outcomes(advance(recall), "model_version")[str(late)] == "blocked"


KILLED_AT = {
    "before the aliases": (advancing, "roll_aliases_back"),
    "before the releases": (advancing, "revoke_recalled_releases"),
    "before a release to go back to is issued": (device_step, "issue_release"),
    "in the batch of devices": (device_step, "assign_releases"),
    "at the end of the batch": (device_step, "store_rows"),
    "before what devices report": (advancing, "refresh_outcomes"),
}


def test_killed_at_each_step_it_goes_on_exactly_once(start, advance, returning_device, monkeypatch):
    """A row of the table is a recall whose process ends at this place, and is followed by another."""
    recall = start()
    wrong = {}
    for place, (module, name) in KILLED_AT.items():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, kill)
            make_due(recall)
            try:
                advance_recalls(actor=DISPATCHER)
            except Killed:
                continue
            wrong[place] = "was not reached"
    assert wrong == {}
    assert advance(recall).state == RecallState.WATCHING
    counts = {
        action: AuditRecord.objects.filter(action=action).count()
        for action in ("model.block", "model.roll_back", "release.revoke")
    }
    assert counts == {"model.block": 1, "model.roll_back": 1, "release.revoke": 1}
    assert states(returning_device) == ["succeeded", "succeeded", "assigned"]
    assert (Release.objects.count(), KeyList.objects.count(), recall.devices.count()) == (3, 2, 1)


def kill(*arguments, **more):
    raise Killed


def test_another_process_does_not_go_on_with_it(start, advance, returning_device):
    recall = start()
    make_due(recall)
    assert advance_recalls(actor=DISPATCHER) == 1
    assert advance_recalls(actor=DISPATCHER) == 0  # not due
