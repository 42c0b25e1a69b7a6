"""registered-models/* but aliases: made, described, renamed, tagged, deleted."""

from __future__ import annotations

import pytest

from apps.ml.registry.models import Model
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services


@pytest.fixture
def model(track):
    return track.post("registered-models/create", name="scorer")["registered_model"]


def test_any_name_but_two_letters(track):
    for name in ("Model of 1.2 (new)", "模型 é", "a%2Fb", "x" * 256):
        assert track.post("registered-models/create", name=name)["registered_model"]["name"] == name
        assert track.get("registered-models/get", name=name)["registered_model"]["name"] == name


def test_one_with_everything(track):
    tags = [{"key": "team", "value": "vision"}]
    told = track.post("registered-models/create", name="detector", description="Finds", tags=tags)
    assert set(told["registered_model"]) == {
        "name",
        "description",
        "tags",
        "creation_timestamp",
        "last_updated_timestamp",
    }
    assert track.get("registered-models/get", name="detector") == told
    assert AuditRecord.objects.filter(action="model.create").count() == 1


def test_prompts_are_not_offered(track, model):
    prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    refusals = [
        track.refused("POST", "registered-models/create", {"name": "asks", "tags": [prompt]}),
        track.refused("POST", "registered-models/set-tag", {"name": "scorer", **prompt}),
        track.refused("POST", "model-versions/create", {"name": "scorer", "source": "dummy-source", "tags": [prompt]}),
    ]
    assert [(status, code, "keeps no prompts" in text) for status, code, text in refusals] == [
        (501, "NOT_IMPLEMENTED", True)
    ] * 3
    assert list(Model.objects.values_list("name", flat=True)) == ["scorer"]


WRONG_MODELS = [
    ({}, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'"),
    ({"name": ""}, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'name'"),
    ({"name": 5}, "INVALID_PARAMETER_VALUE", "Invalid value 5 for parameter 'name' supplied"),
    ({"name": "a/b"}, "INVALID_PARAMETER_VALUE", "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
    ({"name": "a:b"}, "INVALID_PARAMETER_VALUE", "Invalid model name 'a:b'. Names cannot contain '/' or ':'."),
    ({"name": ".."}, "INVALID_PARAMETER_VALUE", "'..' cannot be the name of a model."),
    ({"name": "a\nb"}, "INVALID_PARAMETER_VALUE", "'a\\nb' cannot be the name of a model."),
    ({"name": "x" * 257}, "INVALID_PARAMETER_VALUE", "'name' exceeds the maximum length of 256 characters"),
    ({"name": "x", "tags": [{"key": "", "value": "x"}]}, "INVALID_PARAMETER_VALUE", 'Invalid value "" for'),
    ({"name": "x", "description": "y" * 5001}, "INVALID_PARAMETER_VALUE", "description has 5001 characters"),
    ({"name": "scorer"}, "RESOURCE_ALREADY_EXISTS", "Registered Model (name=scorer) already exists."),
]


def test_wrong_models_are_refused(track, model):
    wrong = {}
    for body, code, text in WRONG_MODELS:
        wrong |= track.wrong_refusals("POST", "registered-models/create", [(body, text)], code=code)
    assert wrong == {}
    assert Model.objects.count() == 1


def test_described_renamed_and_tagged(track, model):
    told = track.patch("registered-models/update", name="scorer", description="Better")["registered_model"]
    assert told["description"] == "Better"
    assert "description" not in track.patch("registered-models/update", name="scorer")["registered_model"]
    for value in ("early", "late"):
        track.post("registered-models/set-tag", name="scorer", key="stage", value=value)
    assert track.post("registered-models/rename", name="scorer", new_name="grader")["registered_model"]["tags"] == [
        {"key": "stage", "value": "late"}
    ]
    for _ in range(2):
        assert track.delete("registered-models/delete-tag", name="grader", key="stage") == {}
    assert "tags" not in track.get("registered-models/get", name="grader")["registered_model"]
    actions = AuditRecord.objects.filter(object_type="model").order_by("pk").values_list("action", flat=True)
    assert list(actions) == [
        "model.create",
        "model.describe",
        "model.describe",
        "model.tag",
        "model.tag",
        "model.rename",
        "model.untag",
    ]


def test_a_name_that_is_taken_is_not_given(track, model):
    track.post("registered-models/create", name="other")
    found = track.refused("POST", "registered-models/rename", {"name": "other", "new_name": "scorer"})
    assert found[:2] == (400, "RESOURCE_ALREADY_EXISTS")
    assert track.post("registered-models/rename", name="other", new_name="other")


@pytest.mark.parametrize(("key", "value"), [("k" * 251, ""), ("a;b", ""), ("../a", ""), ("a", "v" * 100_001)])
def test_tags_that_cannot_be(track, model, key, value):
    body = {"name": "scorer", "key": key, "value": value}
    assert track.refused("POST", "registered-models/set-tag", body)[:2] == (400, "INVALID_PARAMETER_VALUE")


def test_deleted_its_name_is_free_and_its_numbers_are_not_its(track, logged, version_of):
    version_of(logged(), "scorer")
    assert track.delete("registered-models/delete", name="scorer") == {}
    assert track.refused("DELETE", "registered-models/delete", {"name": "scorer"})[0] == 404
    assert track.refused("GET", "model-versions/get", {"name": "scorer", "version": "1"})[0] == 404
    assert version_of(logged(), "scorer")["version"] == "1"
    assert Model.objects.filter(name="scorer").count() == 2


CALLS = [
    ("POST", "registered-models/create", {"name": "scorer"}),
    ("PATCH", "registered-models/update", {"name": "scorer", "description": "x"}),
    ("POST", "registered-models/rename", {"name": "scorer", "new_name": "x"}),
    ("DELETE", "registered-models/delete", {"name": "scorer"}),
    ("POST", "registered-models/set-tag", {"name": "scorer", "key": "a", "value": "b"}),
    ("DELETE", "registered-models/delete-tag", {"name": "scorer", "key": "a"}),
]


def test_calls_require_an_engineer_of_the_project(client_of, viewer, stranger, model):
    by_viewer, by_stranger = client_of(viewer), client_of(stranger)
    absent = (404, "Registered Model with name=scorer not found")
    for method, path, body in CALLS:
        assert by_viewer.refused(method, path, body)[:2] == (403, "PERMISSION_DENIED"), path
        if path != "registered-models/create":
            assert by_stranger.refused(method, path, body)[::2] == absent, path


def test_get_is_cheap_however_many_versions(track, logged, version_of, django_assert_num_queries):
    for _ in range(3):
        version_of(logged(), "scorer")
    with django_assert_num_queries(6):  # the token, the model, its aliases, versions, their tags, its tags
        told = track.get("registered-models/get", name="scorer")["registered_model"]
    assert [one["version"] for one in told["latest_versions"]] == ["3"]
