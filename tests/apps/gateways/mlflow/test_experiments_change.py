"""Rename, delete, restore, tags."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Experiment, Run
from apps.platform.audit.models import AuditRecord


def stage(track, experiment_id):
    return track.get("experiments/get", experiment_id=experiment_id)["experiment"]["lifecycle_stage"]


def told_tags(track, experiment_id):
    pairs = track.get("experiments/get", experiment_id=experiment_id)["experiment"].get("tags", [])
    return {pair["key"]: pair["value"] for pair in pairs}


# -- update ---------------------------------------------------------------------------------------------------------
def test_rename(track, experiment_id):
    assert track.post("experiments/update", experiment_id=experiment_id, new_name="lily") == {}
    assert track.get("experiments/get-by-name", experiment_name="lily")["experiment"]["experiment_id"] == experiment_id
    assert AuditRecord.objects.filter(action="experiment.rename").count() == 1


def test_rename_to_the_same_is_no_change(track, experiment_id):
    track.post("experiments/update", experiment_id=experiment_id, new_name="iris")
    assert not AuditRecord.objects.filter(action="experiment.rename").exists()


def test_rename_to_what_is_taken(track, experiment_id):
    track.post("experiments/create", name="mine")
    refusal = track.refused("POST", "experiments/update", {"experiment_id": experiment_id, "new_name": "mine"})
    assert refusal[:2] == (400, "RESOURCE_ALREADY_EXISTS")


def test_a_deleted_one_is_not_renamed(track, experiment_id):
    track.post("experiments/delete", experiment_id=experiment_id)
    refusal = track.refused("POST", "experiments/update", {"experiment_id": experiment_id, "new_name": "again"})
    assert refusal == (400, "INVALID_PARAMETER_VALUE", "Cannot rename a non-active experiment.")


def test_default_keeps_its_name(track):
    assert track.refused("POST", "experiments/update", {"experiment_id": "0", "new_name": "x"})[0] == 400


# -- delete and restore ---------------------------------------------------------------------------------------------
def test_delete_takes_the_runs_along_and_restore_brings_these_back(track, project, experiment_id):
    experiment = Experiment.objects.get(number=experiment_id)
    runs = [Run.objects.create(project=project, experiment=experiment, name=name) for name in ("kept", "gone")]
    Run.objects.filter(pk=runs[1].pk).update(deleted_at=experiment.created_at)
    track.post("experiments/delete", experiment_id=experiment_id)
    assert stage(track, experiment_id) == "deleted"
    assert not Run.objects.filter(deleted_at=None).exists()
    track.post("experiments/restore", experiment_id=experiment_id)
    assert stage(track, experiment_id) == "active"
    assert list(Run.objects.filter(deleted_at=None)) == [runs[0]]
    assert AuditRecord.objects.filter(action__in=("experiment.delete", "experiment.restore")).count() == 2


def test_twice_is_a_404(track, experiment_id):
    body = {"experiment_id": experiment_id}
    gone = (404, "RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={experiment_id} exists")
    assert track.refused("POST", "experiments/restore", body) == gone
    track.post("experiments/delete", **body)
    assert track.refused("POST", "experiments/delete", body) == gone


def test_default_stays(track):
    assert track.refused("POST", "experiments/delete", {"experiment_id": "0"})[0] == 400


# -- tags -----------------------------------------------------------------------------------------------------------
def test_a_tag_is_set_changed_and_deleted(track, experiment_id):
    for value in ("me", "you", ""):
        track.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="owner", value=value)
        assert told_tags(track, experiment_id) == {"owner": value}
    track.post("experiments/delete-experiment-tag", experiment_id=experiment_id, key="owner")
    assert told_tags(track, experiment_id) == {}
    actions = AuditRecord.objects.filter(object_type="experiment", action__endswith="tag").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [*["experiment.tag"] * 3, "experiment.untag"]


def test_a_tag_moves_the_time_of_change(track, experiment_id):
    before = Experiment.objects.get(number=experiment_id).updated_at
    track.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="a", value="b")
    assert Experiment.objects.get(number=experiment_id).updated_at > before


def test_a_tag_that_is_not_there(track, experiment_id):
    refusal = track.refused("POST", "experiments/delete-experiment-tag", {"experiment_id": experiment_id, "key": "x"})
    assert refusal[1:] == ("RESOURCE_DOES_NOT_EXIST", f"No tag with name: x in experiment with id {experiment_id}")


WRONG_TAGS = [
    ({"key": ""}, "Missing value for required parameter 'key'."),
    ({"key": "a", "value": 5}, "Invalid value 5 for parameter 'value' supplied:"),
    ({"key": "a//b"}, "Invalid value \"a//b\" for parameter 'key' supplied: Names may be treated as files"),
    ({"key": "a;b"}, "Invalid value \"a;b\" for parameter 'key' supplied: Names may only contain"),
    ({"key": "k" * 251}, "'key' exceeds the maximum length of 250 characters"),
    ({"key": "a", "value": "v" * 20_001}, "'value' exceeds the maximum length of 20000 characters"),
]


def test_wrong_tags_are_refused(track, experiment_id):
    cases = [({"value": "x", **body, "experiment_id": experiment_id}, text) for body, text in WRONG_TAGS]
    assert track.wrong_refusals("POST", "experiments/set-experiment-tag", cases) == {}


@pytest.mark.parametrize("call", ["set-experiment-tag", "delete-experiment-tag"])
def test_a_deleted_one_takes_no_tags(track, experiment_id, call):
    track.post("experiments/delete", experiment_id=experiment_id)
    body = {"experiment_id": experiment_id, "key": "a", "value": "b"}
    assert "must be in the 'active' state" in track.refused("POST", f"experiments/{call}", body)[2]


CHANGES = ["update", "delete", "restore", "set-experiment-tag", "delete-experiment-tag"]


def test_changes_require_an_engineer_of_the_project(client_of, viewer, stranger, experiment_id):
    body = {"experiment_id": experiment_id, "new_name": "a", "key": "a", "value": "b"}
    statuses = {
        (who.username, call): client.refused("POST", f"experiments/{call}", body)[0]
        for who, client in ((viewer, client_of(viewer)), (stranger, client_of(stranger)))
        for call in CHANGES
    }
    assert statuses == {(who, call): 403 if who == "viewer" else 404 for who, call in statuses}
