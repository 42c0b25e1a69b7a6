"""experiments/search by POST and GET."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Experiment, ExperimentTag

pytestmark = pytest.mark.services


@pytest.fixture
def four(project) -> None:
    """lily, mine and Zoo are active, gone is not; lily has the tag team=vision."""
    for number, name in enumerate(("lily", "mine", "Zoo", "gone"), 1):
        made = Experiment.objects.create(project=project, number=number, name=name, created_by="t")
        if name == "gone":
            Experiment.objects.filter(pk=made.pk).update(deleted_at=made.created_at)
        if name == "lily":
            ExperimentTag.objects.create(experiment=made, key="team", value="vision")


def names(answer: dict) -> str:
    return " ".join(row["name"] for row in answer.get("experiments", []))


QUERIES = [
    ({}, "Zoo mine lily Default"),
    ({"view_type": "ALL"}, "gone Zoo mine lily Default"),
    ({"view_type": "DELETED_ONLY"}, "gone"),
    ({"view_type": "SOMETIMES"}, "Zoo mine lily Default"),
    ({"filter": "name = 'lily'"}, "lily"),
    ({"filter": "name LIKE 'z%'"}, ""),
    ({"filter": "name ILIKE 'z%'"}, "Zoo"),
    ({"filter": "attribute.name != 'lily' and tags.team = 'vision'"}, ""),
    ({"filter": "tags.`team` LIKE 'v%'"}, "lily"),
    ({"filter": "tags.team IS NULL"}, "Zoo mine Default"),
    ({"filter": "tags.team IS NOT NULL"}, "lily"),
    ({"filter": "creation_time < 1000"}, ""),
    ({"filter": "last_update_time > 1000"}, "Zoo mine lily Default"),
    ({"filter": "experiment_id = '2'"}, "mine"),
    ({"filter": "experiment_id IN ('2', '3', '99999999999')"}, "Zoo mine"),
    ({"filter": "experiment_id != '2'"}, "Zoo lily Default"),
    ({"order_by": ["name ASC"]}, "Default Zoo lily mine"),
    ({"order_by": ["name DESC"]}, "mine lily Zoo Default"),
    ({"order_by": ["experiment_id ASC"]}, "Default lily mine Zoo"),
]


@pytest.mark.usefixtures("four")
def test_search_experiments(track):
    """Each query finds the same by POST, by GET, and in pages of one."""
    wrong = {}
    for query, expected in QUERIES:
        by_post = names(track.post("experiments/search", **query, max_results=10))
        by_get = names(track.get("experiments/search", **query))
        pages = paged(track, query)
        if not by_post == by_get == pages == expected:
            wrong[repr(query)] = (by_post, by_get, pages, expected)
    assert wrong == {}


def paged(track, query: dict) -> str:
    """The same, in pages of one."""
    found, token = [], ""
    while True:
        page = track.post("experiments/search", **query, max_results=1, page_token=token)
        found.append(names(page))
        token = page.get("next_page_token", "")
        if not token:
            return " ".join(found).strip()


def test_a_fresh_project_has_the_default_one(track, client_of, viewer, project):
    """For who may record; a viewer's search writes nothing."""
    assert client_of(viewer).get("experiments/search") == {}
    (row,) = track.get("experiments/search")["experiments"]
    assert (row["experiment_id"], row["name"]) == ("0", "Default")
    assert row["creation_time"] == int(project.created_at.timestamp() * 1000)
    assert track.get("experiments/search")["experiments"] == [row]
    assert len(client_of(viewer).get("experiments/search")["experiments"]) == 1


@pytest.mark.usefixtures("four")
def test_answer_fields(track):
    (row,) = track.post("experiments/search", max_results="5", filter="name = 'lily'")["experiments"]
    assert row["experiment_id"] == "1"
    assert row["artifact_location"] == "mlflow-artifacts:/1"
    assert row["tags"] == [{"key": "team", "value": "vision"}]


WRONG_QUERIES = [
    ({"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
    ({"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000"),
    ({"filter": "metrics.a > 1"}, "Invalid entity type 'metrics'. "
        "Valid entity types are ('attribute', 'tag', 'tags')"),
    ({"filter": "name > 'a'"}, "Invalid comparator for string attribute: >"),
    ({"filter": "name = 'a' OR name = 'b'"}, "Invalid clause(s) in filter string: OR"),
    ({"filter": "name IN ('a')"}, "Only ['experiment_id'] attributes support comparison with a list of quoted "
        "string values."),
    ({"filter": "experiment_id = 'x'"}, "Invalid experiment ID 'x'. Experiment ID must be a valid integer."),
    ({"filter": "experiment_id LIKE '1'"}, "Invalid comparator for experiment_id: LIKE"),
    ({"filter": "creation_time = 1.5"}, "Invalid value for numeric attribute 'creation_time': '1.5'"),
    ({"order_by": ["tags.team"]}, "Invalid order_by entity: tag"),
    ({"order_by": ["name SIDEWAYS"]}, "Invalid ordering key in order_by clause 'name SIDEWAYS'."),
    ({"page_token": "rubbish"}, "Invalid page token, could not base64-decode"),
]  # fmt: skip


def test_wrong_queries_are_refused(track):
    cases = [({"max_results": 5} | query, text) for query, text in WRONG_QUERIES]
    assert track.wrong_refusals("POST", "experiments/search", cases, exact=True) == {}


def test_post_requires_max_results(track):
    status, code, text = track.refused("POST", "experiments/search", {})
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert text == "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"


@pytest.mark.usefixtures("four")
def test_search_query_count(track, django_assert_max_num_queries):
    track.post("experiments/search", max_results=100)  # notes that the token is in use
    with django_assert_max_num_queries(5):
        track.post("experiments/search", max_results=100)
