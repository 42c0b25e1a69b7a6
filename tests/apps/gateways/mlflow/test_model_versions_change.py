"""model-versions/* but create: described, tagged, staged, deleted; where its files are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.services import request_promotion
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from tests.apps.gateways.mlflow.conftest import FILES

OF = {"name": "fruit", "version": "1"}


@pytest.fixture
def key(logged):
    return logged()


@pytest.fixture
def version(key, version_of):
    version_of(key)
    return ModelVersion.objects.select_related("model__project", "run").get()


@pytest.fixture
def promoted(version, actor_for, engineer, approver):
    asked = request_promotion(actor=actor_for(engineer), version=version)
    proof = Proof(user_id=approver.pk, method="password")
    digest = asked.facts_digest
    approve(actor=actor_for(approver), approval=asked, facts_digest=digest, reason="good", proof=proof)
    assert Alias.objects.get(name="production").version == version


def test_described_and_tagged(track, version):
    assert track.patch("model-versions/update", **OF, description="Better")["model_version"]["description"] == "Better"
    for value in ("early", "late"):
        assert track.post("model-versions/set-tag", **OF, key="stage", value=value) == {}
    assert track.get("model-versions/get", **OF)["model_version"]["tags"] == [{"key": "stage", "value": "late"}]
    for _ in range(2):
        assert track.delete("model-versions/delete-tag", **OF, key="stage") == {}
    assert "tags" not in track.get("model-versions/get", **OF)["model_version"]
    assert AuditRecord.objects.filter(action__endswith="_version").exclude(action="model.record_version").count() == 4


CHANGES = [
    ("PATCH", "update", {"description": "Theirs"}),
    ("POST", "set-tag", {"key": "a", "value": "b"}),
    ("DELETE", "delete-tag", {"key": "a"}),
    ("POST", "transition-stage", {"stage": "staging"}),
    ("DELETE", "delete", {}),
]


def test_changes_require_an_engineer_of_the_project(client_of, viewer, stranger, version):
    by_viewer, by_stranger = client_of(viewer), client_of(stranger)
    statuses = {
        path: tuple(
            client.refused(method, f"model-versions/{path}", OF | body)[0] for client in (by_viewer, by_stranger)
        )
        for method, path, body in CHANGES
    }
    assert statuses == dict.fromkeys(statuses, (403, 404))
    version.refresh_from_db()
    assert (version.description, version.deleted_at) == ("", None)


def test_stages_are_words(track, version, key, version_of):
    version_of(key)
    for number in ("1", "2"):
        body = {"name": "fruit", "version": number, "stage": "staging", "archive_existing_versions": True}
        assert track.post("model-versions/transition-stage", **body)["model_version"]["current_stage"] == "Staging"
    assert track.get("model-versions/get", **OF)["model_version"]["current_stage"] == "Archived"
    told = track.post("registered-models/get-latest-versions", name="fruit")["model_versions"]
    assert [(one["version"], one["current_stage"]) for one in told] == [("1", "Archived"), ("2", "Staging")]
    assert track.post("registered-models/get-latest-versions", name="fruit", stages=["None"]) == {}
    told = track.get("registered-models/get-latest-versions", name="fruit", stages=["Staging"])["model_versions"]
    assert [one["version"] for one in told] == ["2"]


def test_a_stage_is_a_change_of_version_and_model(track, version):
    def stamps():
        told = (
            track.get("model-versions/get", **OF)["model_version"],
            track.get("registered-models/get", name="fruit")["registered_model"],
        )
        return [one["last_updated_timestamp"] for one in told]

    before = stamps()
    ModelVersion.objects.update(updated_at=ModelVersion.objects.get().created_at - timedelta(seconds=9))
    Model.objects.update(updated_at=Model.objects.get().created_at - timedelta(seconds=9))
    told = track.post("model-versions/transition-stage", **OF, stage="Staging")["model_version"]
    assert told["last_updated_timestamp"] >= before[0]
    assert all(now >= then for now, then in zip(stamps(), before, strict=True))


@pytest.mark.parametrize("stage", ["Production", "production"])
def test_the_stage_production_takes_an_approval(track, version, stage):
    status, code, text = track.refused("POST", "model-versions/transition-stage", OF | {"stage": stage})
    assert (status, code) == (403, "PERMISSION_DENIED")
    assert "Request a promotion" in text


@pytest.mark.parametrize(
    "body",
    [{"stage": "Nowhere"}, {}, {"stage": "Archived", "archive_existing_versions": "yes"}],
)
def test_a_stage_that_is_none(track, version, body):
    assert track.refused("POST", "model-versions/transition-stage", OF | body)[:2] == (400, "INVALID_PARAMETER_VALUE")


WRONG_NUMBERS = [("99", 404), ("0", 404), ("-1", 404), ("x", 400), ("", 400), (1, 400)]


def test_wrong_version_numbers_are_refused(track, version):
    body = {"name": "fruit", "key": "a", "value": "b"}
    statuses = [
        (number, track.refused("POST", "model-versions/set-tag", body | {"version": number})[0])
        for number, _ in WRONG_NUMBERS
    ]
    assert statuses == WRONG_NUMBERS


def test_deleted_it_is_not_there(track, version):
    assert track.delete("model-versions/delete", **OF) == {}
    for method, path in (("GET", "get"), ("DELETE", "delete"), ("GET", "get-download-uri")):
        assert track.refused(method, f"model-versions/{path}", OF)[0] == 404
    assert "latest_versions" not in track.get("registered-models/get", name="fruit")["registered_model"]
    assert AuditRecord.objects.filter(action="model.delete_version").count() == 1


def test_what_is_in_production_stays(track, promoted):
    for path, body in (("model-versions/delete", OF), ("registered-models/delete", {"name": "fruit"})):
        status, code, text = track.refused("DELETE", path, body)
        assert (status, code) == (409, "RESOURCE_CONFLICT")
        assert "production points to v1" in text
    assert track.refused("POST", "registered-models/rename", {"name": "fruit", "new_name": "x"})[0] == 409


def test_what_waits_for_an_approval_stays(track, version, actor_for, engineer, approver):
    request_promotion(actor=actor_for(engineer), version=version)
    assert "approval #" in track.refused("DELETE", "model-versions/delete", OF)[2]


def test_what_something_was_made_from_stays(track, version, project, worker_actor):
    edge = EdgeSpec.between(End("model_version", str(version.pk)), End("job", "7", label="#7 predict"), "model")
    record_edges(actor=worker_actor, project=project, edges=[edge])
    assert "is cited: job #7 predict" in track.refused("DELETE", "model-versions/delete", OF)[2]


# -- its files ------------------------------------------------------------------------------------------------------
def test_its_files_are_those_of_its_source(track, version, key):
    told = track.get("model-versions/get-download-uri", **OF)
    assert told == {"artifact_uri": f"mlflow-artifacts:/3/models/{key}/artifacts"}


@pytest.mark.parametrize("change", ["written again", "added", "deleted", "model deleted"])
def test_and_stay_so_whatever_becomes_of_that(track, version, key, change):
    path = f"3/models/{key}/artifacts/data/weights.bin"
    if change == "written again":
        track.put(path, b"other")
    elif change == "added":
        track.put(f"{path}.more", b"other")
    elif change == "deleted":
        track.delete(FILES + path)
    else:
        track.delete(f"logged-models/{key}")
    uri = track.get("model-versions/get-download-uri", **OF)["artifact_uri"]
    assert uri == f"mlflow-artifacts:/registry/{version.pk}"
    root = f"registry/{version.pk}"
    assert track.send("GET", f"{FILES}{root}/data/weights.bin").getvalue() == b"weights"
    assert track.get(FILES.rstrip("/"), path=root)["files"] == [
        {"path": "MLmodel", "is_dir": False, "file_size": version.files.get(path="MLmodel").size},
        {"path": "data", "is_dir": True},
    ]


def test_production_is_fetched_from_its_own_place(track, promoted, version):
    told = track.get("registered-models/alias", name="fruit", alias="production")["model_version"]
    assert told["aliases"] == ["production"]
    uri = track.get("model-versions/get-download-uri", **OF)["artifact_uri"]
    assert uri == f"mlflow-artifacts:/registry/{version.pk}"


def test_its_own_place_is_not_written(track, version, client_of, stranger):
    path = f"{FILES}registry/{version.pk}/MLmodel"
    for method in ("PUT", "DELETE"):
        assert track.refused(method, path, raw=b"x")[:2] == (403, "PERMISSION_DENIED")
    assert client_of(stranger).refused("GET", path)[0] == 404
    assert client_of(stranger).get(FILES.rstrip("/"), path=f"registry/{version.pk}") == {}
