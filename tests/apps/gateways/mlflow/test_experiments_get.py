from __future__ import annotations

import pytest

from apps.ml.experiments.models import Experiment


def test_by_id_and_by_name(track, experiment_id):
    by_id = track.get("experiments/get", experiment_id=experiment_id)["experiment"]
    assert by_id == track.get("experiments/get-by-name", experiment_name="iris")["experiment"]
    assert by_id["artifact_location"] == f"mlflow-artifacts:/{experiment_id}"
    assert (by_id["experiment_id"], by_id["name"], by_id["lifecycle_stage"]) == (experiment_id, "iris", "active")
    assert "tags" not in by_id


def test_tags_are_told(track):
    made = track.post("experiments/create", name="x", tags=[{"key": "a", "value": "1"}, {"key": "b", "value": ""}])
    told = track.get("experiments/get", experiment_id=made["experiment_id"])["experiment"]
    assert told["tags"] == [{"key": "a", "value": "1"}, {"key": "b", "value": ""}]


@pytest.mark.parametrize(
    ("path", "query"),
    [("experiments/get", {"experiment_id": "0"}), ("experiments/get-by-name", {"experiment_name": "Default"})],
)
def test_default_is_there_at_once(track, project, path, query):
    assert track.get(path, **query)["experiment"]["name"] == "Default"
    assert Experiment.objects.get(project=project).number == 0


def test_a_reader_makes_no_default(client_of, viewer):
    status, code, text = client_of(viewer).refused("GET", "experiments/get", {"experiment_id": "0"})
    assert (status, code, text) == (404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=0 exists")
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("asked", ["99999999", "4294967296", "999999999999999999", "-1"])
def test_an_unknown_id(track, asked):
    status, code, text = track.refused("GET", "experiments/get", {"experiment_id": asked})
    assert (status, code, text) == (404, "RESOURCE_DOES_NOT_EXIST", f"No Experiment with id={asked} exists")


@pytest.mark.parametrize("asked", ["not a number", "1.5", "1" * 40, "½"])
def test_an_id_of_nonsense(track, asked):
    status, code, text = track.refused("GET", "experiments/get", {"experiment_id": asked})
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert text == f"Invalid experiment ID '{asked}'. Experiment ID must be a valid integer."


def test_an_unknown_name(track):
    status, _code, text = track.refused("GET", "experiments/get-by-name", {"experiment_name": "nothing"})
    assert (status, text) == (404, "Could not find experiment with name 'nothing'")


def test_another_projects_is_not_there(client_of, stranger, experiment_id):
    status, code, _text = client_of(stranger).refused("GET", "experiments/get", {"experiment_id": experiment_id})
    assert (status, code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_two_queries_and_the_tokens(track, experiment_id, django_assert_num_queries):
    with django_assert_num_queries(3):
        track.get("experiments/get", experiment_id=experiment_id)
