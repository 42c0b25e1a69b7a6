from __future__ import annotations

from apps.ml.experiments.models import Experiment
from apps.platform.audit.models import AuditRecord


def test_create_in_the_project_of_the_token(track, project):
    told = track.post("experiments/create", name="iris", tags=[{"key": "team", "value": "vision"}])
    experiment = Experiment.objects.get(project=project, number=told["experiment_id"])
    assert (experiment.name, experiment.created_by) == ("iris", "engineer")
    assert list(experiment.tags.values_list("key", "value")) == [("team", "vision")]
    assert AuditRecord.objects.filter(action="experiment.create", object_id=str(experiment.pk)).count() == 1


def test_names_are_unique_including_deleted_ones(track, experiment_id):
    track.post("experiments/delete", experiment_id=experiment_id)
    for name in ("iris", "Default"):
        status, code, text = track.refused("POST", "experiments/create", {"name": name})
        assert (status, code) == (400, "RESOURCE_ALREADY_EXISTS")
        assert text == f"Experiment(name={name}) already exists."


WRONG_BODIES = [
    ({}, "Missing value for required parameter 'name'."),
    ({"name": ""}, "Missing value for required parameter 'name'."),
    ({"name": None}, "Missing value for required parameter 'name'."),
    ({"name": 5}, "Invalid value 5 for parameter 'name' supplied:  Hint: Value was of type 'int'."),
    ({"name": ["a"]}, "Invalid value [\"a\"] for parameter 'name' supplied:  Hint: Value was of type 'list'."),
    ({"name": "x" * 501}, "'name' exceeds the maximum length of 500 characters"),
    ({"name": "x", "tags": {"key": "a"}}, 'Invalid value {"key":"a"} for parameter \'tags\' supplied:'),
    ({"name": "x", "tags": [{"key": "", "value": "x"}]}, "Invalid value \"\" for parameter 'key' supplied: Names"),
    ({"name": "x", "artifact_location": "mlflow-artifacts:/a#b"}, "'artifact_location' URL can't include"),
    ({"name": "x", "artifact_location": "s3://elsewhere/x"}, "'artifact_location' must be mlflow-artifacts:/"),
    ({"name": "x", "artifact_location": "mlflow-artifacts:/../x"}, "'artifact_location' must be"),
]


def test_wrong_bodies_are_refused_with_mlflow_messages(track):
    assert track.wrong_refusals("POST", "experiments/create", WRONG_BODIES) == {}
    assert not Experiment.objects.exists()


def test_viewer_is_refused(client_of, viewer):
    status, code, _text = client_of(viewer).refused("POST", "experiments/create", {"name": "iris"})
    assert (status, code) == (403, "PERMISSION_DENIED")


def test_token_needs_the_scope(client_of, engineer):
    _status, code, text = client_of(engineer, scopes=["read"]).refused("POST", "experiments/create", {"name": "iris"})
    assert code == "PERMISSION_DENIED"
    assert "runs:write" in text
