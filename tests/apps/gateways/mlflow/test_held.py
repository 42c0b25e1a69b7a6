"""What a legal hold covers: clients neither delete it nor change its files."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, Run, RunArtifact
from apps.platform.holds.services import place_hold
from tests.apps.gateways.mlflow.conftest import FILES


@pytest.fixture
def hold(project, auditor, actor_for):
    """hold(type, id) by the auditor"""

    def place(kind, pk):
        who = actor_for(auditor)
        place_hold(actor=who, project=project, object_type=kind, object_id=str(pk), reason="case 12")

    return place


@pytest.mark.parametrize("kind", ["run", "experiment"])
def test_the_files_of_a_run_stay_as_they_are(track, run, place, hold, kind):
    track.put(f"{place}/a", b"first")
    hold(kind, run.pk if kind == "run" else run.experiment_id)
    before = RunArtifact.objects.get().artifact_id
    status, _, text = track.refused("DELETE", f"{FILES}{place}/a")
    assert (status, "case 12" in text) == (409, True)
    assert track.put(f"{place}/a", b"second").status_code == 409
    assert track.put(f"{place}/a", b"first").status_code == 200  # the same bytes are no change
    assert track.put(f"{place}/b", b"more").status_code == 200
    assert RunArtifact.objects.get(path="a").artifact_id == before
    assert track.delete(f"{FILES}{place}/nothing") == {}


def test_a_logged_model_and_its_files_stay(track, logged, hold):
    key = logged()
    hold("loggedmodel", key)
    count = LoggedModelArtifact.objects.count()
    assert track.refused("DELETE", f"{FILES}3/models/{key}/artifacts/MLmodel")[0] == 409
    assert "case 12" in track.refused("DELETE", f"logged-models/{key}")[2]
    assert LoggedModel.objects.get().deleted_at is None
    assert LoggedModelArtifact.objects.count() == count


@pytest.mark.parametrize("kind", ["run", "experiment"])
def test_a_run_stays(track, run, hold, kind):
    hold(kind, run.pk if kind == "run" else run.experiment_id)
    assert "case 12" in track.refused("POST", "runs/delete", {"run_id": run.pk})[2]
    assert Run.objects.get().deleted_at is None


@pytest.mark.parametrize("kind", ["run", "loggedmodel", "experiment"])
def test_an_experiment_stays_with_what_it_holds(track, run, logged, hold, kind):
    hold(kind, {"run": run.pk, "loggedmodel": logged(), "experiment": run.experiment_id}[kind])
    assert "case 12" in track.refused("POST", "experiments/delete", {"experiment_id": "3"})[2]
    assert Experiment.objects.get(number=3).deleted_at is None


def test_a_run_that_is_going_for_good_is_not_restored(track, run):
    Run.objects.update(deleted_at=timezone.now(), purging_at=timezone.now())
    status, _, text = track.refused("POST", "runs/restore", {"run_id": run.pk})
    assert (status, "begun to go" in text) == (409, True)


def test_an_experiment_comes_back_without_it(track, project, run):
    there = Run.objects.create(project=project, experiment=run.experiment, name="there", created_by="x")
    track.post("experiments/delete", experiment_id="3")
    Run.objects.filter(pk=run.pk).update(purging_at=timezone.now())
    track.post("experiments/restore", experiment_id="3")
    assert set(Run.objects.filter(deleted_at=None)) == {there}
