"""The searches of logged models, registered models and versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelMetric, LoggedModelParam, LoggedModelTag, Run
from apps.ml.registry.models import Model, ModelTag, ModelVersion, ModelVersionTag

pytestmark = pytest.mark.services

START = datetime(2026, 1, 2, tzinfo=UTC)


def paged(ask, query: dict, name: str) -> list[dict]:
    """All results, read in pages of one."""
    found, token = [], ""
    while True:
        page = ask(**query, max_results=1, **({"page_token": token} if token else {}))
        found += page.get(name, [])
        token = page.get("next_page_token", "")
        if not token:
            return found


# -- logged models --------------------------------------------------------------------------------------------------
@pytest.fixture
def experiment(track, experiment_id, project) -> Experiment:
    return Experiment.objects.get(project=project, number=experiment_id)


@pytest.fixture
def three(project, experiment) -> None:
    """net a (first), tree b, net c (last), and one deleted."""
    run = Run.objects.create(id="e" * 32, project=project, experiment=experiment, name="r", created_by="t")
    for number, (letter, name) in enumerate((("a", "net"), ("b", "tree"), ("c", "net"), ("d", "gone"))):
        model = LoggedModel.objects.create(
            id=f"m-{letter * 32}", project=project, experiment=experiment, name=name, created_by="t",
            created_at=START + timedelta(seconds=number), deleted_at=START if name == "gone" else None,
            model_type="agent" if letter == "a" else "", source_run=run if letter == "b" else None,
            state="ready" if letter == "c" else "pending",
        )  # fmt: skip
        LoggedModelParam.objects.create(model=model, key="lr", value=f"0.{number}")
        point = {"model": model, "run": run, "key": "acc", "step": 0, "at": START}
        if letter in "ab":
            LoggedModelMetric.objects.create(**point, value=0.5 + number, dataset_name="wine", dataset_digest="abc")
        if letter == "a":
            LoggedModelTag.objects.create(model=model, key="team", value="audio")
            later = point | {"at": START + timedelta(seconds=9)}
            LoggedModelMetric.objects.create(**later, value=9.0)


def letters(models: list[dict]) -> str:
    return "".join(model["info"]["model_id"][2] for model in models)


LOGGED_MODEL_QUERIES = [
    ({}, "cba"),
    ({"filter": "name = 'net'"}, "ca"),
    ({"filter": "name = net"}, "ca"),
    ({"filter": "name LIKE 'n%'", "order_by": [{"field_name": "creation_timestamp", "ascending": True}]}, "ac"),
    ({"filter": "name ILIKE 'N%' AND params.lr = '0.0'"}, "a"),
    ({"filter": "name != 'net'"}, "b"),
    ({"filter": "name IN ('net', 'tree')"}, "cba"),
    ({"filter": f"model_id = 'm-{'b' * 32}'"}, "b"),
    ({"filter": f"source_run_id = '{'e' * 32}'"}, "b"),
    ({"filter": "status = 'READY'"}, "c"),
    ({"filter": "status != 'LOGGED_MODEL_READY'"}, "ba"),
    ({"filter": "model_type = 'agent'"}, "a"),
    ({"filter": "attributes.name = 'tree'"}, "b"),
    ({"filter": "tags.team = 'audio'"}, "a"),
    ({"filter": "metrics.acc > 1"}, "ba"),
    ({"filter": "metrics.acc > 8", "datasets": [{"dataset_name": "wine", "dataset_digest": "abc"}]}, ""),
    ({"datasets": [{"dataset_name": "wine"}]}, "ba"),
    ({"datasets": [{"dataset_name": "beer"}]}, ""),
    ({"filter": "creation_timestamp < 1000"}, ""),
    ({"order_by": [{"field_name": "metrics.acc", "ascending": False}]}, "abc"),
    ({"order_by": [{"field_name": "metrics.acc", "dataset_name": "wine", "ascending": True}]}, "abc"),
    ({"order_by": [{"field_name": "metrics.acc", "dataset_name": "wine", "ascending": False}]}, "bac"),
    ({"order_by": [{"field_name": "metrics.acc", "dataset_digest": "abc", "ascending": False}]}, "bac"),
    ({"order_by": [{"field_name": "metrics.acc", "dataset_digest": "xyz", "ascending": True}]}, "cba"),
    ({"order_by": [{"field_name": "name"}, {"field_name": "model_id", "ascending": False}]}, "cab"),
    ({"order_by": [{"field_name": "source_run_id"}]}, "bca"),
]


@pytest.mark.usefixtures("three")
def test_search_logged_models(track, experiment):
    """Each query finds the same in one page and in pages of one."""
    wrong = {}
    for query, expected in LOGGED_MODEL_QUERIES:
        query = {"experiment_ids": [str(experiment.number)]} | query
        whole = letters(track.post("logged-models/search", **query).get("models", []))
        pages = letters(paged(lambda **more: track.post("logged-models/search", **more), query, "models"))
        if not whole == pages == expected:
            wrong[repr(query)] = (whole, pages, expected)
    assert wrong == {}


WRONG_LOGGED_MODEL_QUERIES = [
    ({"datasets": [{"dataset_digest": "abc"}]}, "`dataset_name` in the `datasets` clause must be specified."),
    ({"filter": "name"}, "Invalid filter string: 'name'. Expected a list of comparisons separated by 'AND' "
        "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."),
    ({"filter": "metrics.acc > 'x'"}, "Expected numeric value type for metric. Found 'x'"),
    ({"order_by": [{"field_name": "nothing"}]}, "Invalid order by field name: nothing"),
    ({"order_by": [{"field_name": "params.a"}]}, "Invalid order by field name: params.a. "
        "Only metrics are supported."),
    ({"page_token": "rubbish"}, "Invalid page token, could not base64-decode"),
    ({"experiment_ids": None}, "Missing value for required parameter 'experiment_ids'. "
        "See the API docs for more information about request parameters."),
]  # fmt: skip


def test_wrong_logged_model_queries_are_refused(track, experiment):
    experiments = {"experiment_ids": [str(experiment.number)]}
    cases = [(experiments | query, text) for query, text in WRONG_LOGGED_MODEL_QUERIES]
    assert track.wrong_refusals("POST", "logged-models/search", cases, exact=True) == {}


# -- the registry ---------------------------------------------------------------------------------------------------
@pytest.fixture
def models(project) -> None:
    """detector (tags team=vision), sorter with two versions, and a prompt; one is deleted."""
    for number, name in enumerate(("detector", "sorter", "asks", "gone")):
        made = Model.objects.create(
            project=project, name=name, created_by="t", updated_at=START + timedelta(seconds=number),
            deleted_at=START if name == "gone" else None, versions_count=2,
        )  # fmt: skip
        if name == "detector":
            ModelTag.objects.create(model=made, key="team", value="vision")
        if name == "asks":
            ModelTag.objects.create(model=made, key="mlflow.prompt.is_prompt", value="true")
        for version in (1, 2):
            kept = ModelVersion.objects.create(
                model=made, number=version, digest=f"{name}{version}", document="{}", task="t", target="t",
                source=f"mlflow-artifacts:/1/{name}", created_by="t", updated_at=START + timedelta(seconds=version),
                stage="Production" if (name, version) == ("sorter", 1) else "None",
            )  # fmt: skip
            tag = {"asks": ("mlflow.prompt.is_prompt", "true"), "sorter": ("team", "audio")}.get(name)
            if tag:
                ModelVersionTag.objects.create(version=kept, key=tag[0], value=tag[1])


MODEL_QUERIES = [
    ({}, "detector sorter"),
    ({"filter": "name = 'detector'"}, "detector"),
    ({"filter": "name LIKE 'det%'"}, "detector"),
    ({"filter": "name ILIKE 'DET%'"}, "detector"),
    ({"filter": "name != 'detector'"}, "sorter"),
    ({"filter": "name IN ('detector')"}, "detector"),
    ({"filter": "tags.team = 'vision'"}, "detector"),
    ({"filter": "tags.team = 'vision' and name = 'sorter'"}, ""),
    ({"filter": "name ILIKE '%R' AND tag.`mlflow.prompt.is_prompt` != 'true'"}, "detector sorter"),
    ({"filter": "tags.`mlflow.prompt.is_prompt` = 'true'"}, "asks"),
    ({"filter": "tags.`mlflow.prompt.is_prompt` = 'false'"}, "detector sorter"),
    ({"order_by": ["name DESC"]}, "sorter detector"),
    ({"order_by": ["last_updated_timestamp DESC", "name ASC"]}, "sorter detector"),
    ({"order_by": ["timestamp ASC"]}, "detector sorter"),
]


@pytest.mark.usefixtures("models")
def test_search_registered_models(track):
    """Each query finds the same in one page and in pages of one."""
    wrong = {}
    for query, expected in MODEL_QUERIES:
        whole = track.get("registered-models/search", **query).get("registered_models", [])
        names = " ".join(model["name"] for model in whole)
        pages = paged(lambda **more: track.get("registered-models/search", **more), query, "registered_models")
        if names != expected or pages != whole:
            wrong[repr(query)] = (names, expected, pages)
    assert wrong == {}


@pytest.mark.usefixtures("models")
def test_search_returns_latest_versions(track, django_assert_max_num_queries):
    track.get("registered-models/search")
    with django_assert_max_num_queries(9):
        detector, sorter = track.get("registered-models/search")["registered_models"]
    assert [one["version"] for one in detector["latest_versions"]] == ["2"]
    assert [(one["version"], one["current_stage"]) for one in sorter["latest_versions"]] == [
        ("1", "Production"),
        ("2", "None"),
    ]
    assert detector["tags"] == [{"key": "team", "value": "vision"}]


VERSION_QUERIES = [
    ({}, "detector2 sorter2 detector1 sorter1"),
    ({"filter": "name='sorter'"}, "sorter2 sorter1"),
    ({"filter": "name = 'sorter' and version_number = 1"}, "sorter1"),
    ({"filter": "version_number > 1"}, "detector2 sorter2"),
    ({"filter": "version_number = '1'"}, "detector1 sorter1"),
    ({"filter": "run_id IN ('x')"}, ""),
    ({"filter": "name IN ('sorter', 'other')"}, "sorter2 sorter1"),
    ({"filter": "source_path LIKE '%detector'"}, "detector2 detector1"),
    ({"filter": "tags.team = 'audio'"}, "sorter2 sorter1"),
    ({"filter": "tags.`mlflow.prompt.is_prompt` != 'true' and name = 'asks'"}, ""),
    ({"filter": "tags.`mlflow.prompt.is_prompt` = 'true'"}, "asks2 asks1"),
    ({"order_by": ["version_number ASC"]}, "detector1 sorter1 detector2 sorter2"),
    ({"order_by": ["name DESC"]}, "sorter2 sorter1 detector2 detector1"),
]


@pytest.mark.usefixtures("models")
def test_search_model_versions(track):
    """Each query finds the same in one page and in pages of one."""
    wrong = {}
    for query, expected in VERSION_QUERIES:
        whole = track.get("model-versions/search", **query).get("model_versions", [])
        names = " ".join(one["name"] + one["version"] for one in whole)
        pages = paged(lambda **more: track.get("model-versions/search", **more), query, "model_versions")
        if names != expected or pages != whole:
            wrong[repr(query)] = (names, expected, pages)
    assert wrong == {}


REFUSED = [
    ({"filter": "name = detector"}, "Parameter value is either not quoted or unidentified quote types used for string "
        "value detector. Use either single or double quotes."),
    ({"filter": "name > 'a'"}, "Invalid comparator for attribute: >"),
    ({"filter": "metrics.a > 1"}, "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')"),
    ({"filter": "name = 'a' or name = 'b'"}, "Invalid clause(s) in filter string: or"),
    ({"order_by": ["name SIDEWAYS"]}, "Invalid ordering key in order_by clause 'name SIDEWAYS'."),
    ({"page_token": "rubbish"}, "Invalid page token, could not base64-decode"),
    ({"max_results": "x"}, "Invalid value \"x\" for parameter 'max_results' supplied:  Hint: Value was of type 'str'. "
        "See the API docs for more information about request parameters."),
    ({"max_results": 0}, "Invalid value for max_results. It must be a positive integer, but got 0"),
    ({"max_results": 200001}, "Invalid value \"200001\" for parameter 'max_results' supplied:  Hint: Value was of type "
        "'str'. See the API docs for more information about request parameters."),
]  # fmt: skip


@pytest.mark.parametrize("address", ["registered-models/search", "model-versions/search"])
def test_wrong_registry_queries_are_refused(track, address):
    assert track.wrong_refusals("GET", address, REFUSED, exact=True) == {}


def test_version_filter_refuses_unknown_attributes(track):
    text = "Invalid value for numeric attribute 'version_number': 1.5"
    wrong = {"filter": "version_number = 1.5"}
    assert track.refused("GET", "model-versions/search", wrong) == (400, "INVALID_PARAMETER_VALUE", text)
    status, _, said = track.refused("GET", "model-versions/search", {"filter": "stage = 'None'"})
    assert (status, said.split(".")[0]) == (400, "Invalid attribute key 'stage' specified")
