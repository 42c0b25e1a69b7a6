import pytest

from apps.platform.lineage.services import record_edges

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/projects/demo/lineage"


def test_the_graph_of_a_version(api, viewer, worker_actor, project, edge):
    record_edges(
        actor=worker_actor,
        project=project,
        edges=[edge("dataset_version:1", "job:2"), edge("job:2", "dataset_version:3")],
    )
    answer = api(viewer).get(URL, {"type": "dataset_version", "id": "3", "direction": "up", "depth": "2"})
    assert answer.status_code == 200
    found = answer.json()
    assert {(node["type"], node["id"], node["depth"]) for node in found["nodes"]} == {
        ("dataset_version", "3", 0),
        ("job", "2", -1),
        ("dataset_version", "1", -2),
    }
    assert [(e["source_id"], e["target_id"], e["role"]) for e in found["edges"]] == [
        ("2", "3", "table"),
        ("1", "2", "table"),
    ]
    assert found["truncated"] is False


def test_the_edges_as_a_file(api, viewer, stranger, worker_actor, project, edge):
    edges = [edge("dataset_version:1", "job:2"), edge("job:2", "dataset_version:3")]
    record_edges(actor=worker_actor, project=project, edges=edges)
    asked = {"type": "dataset_version", "id": "3", "direction": "up", "depth": "2"}
    answer = api(viewer).get(f"{URL}.csv", asked)
    head, *rows = answer.content.decode().splitlines()
    assert (answer.status_code, head.split(",")[:2]) == (200, ["source_type", "source_id"])
    assert 'filename="lineage-dataset_version-3.csv"' in answer.headers["Content-Disposition"]
    assert [row.split(",")[:2] for row in rows] == [["dataset_version", "1"], ["job", "2"]]
    assert api(stranger).get(f"{URL}.csv", asked).status_code == 404
    assert api(viewer).get(f"{URL}.csv", asked | {"depth": "99"}).status_code == 422


WRONG_QUERIES = [
    ({}, "type"),
    ({"type": "x", "id": "1"}, "type"),
    ({"type": "job"}, "id"),
    ({"type": "job", "id": "1", "direction": "x"}, "direction"),
    ({"type": "job", "id": "1", "depth": "x"}, "depth"),
    ({"type": "job", "id": "1", "depth": "-1"}, "depth"),
    ({"type": "job", "id": "1", "depth": "51"}, "depth"),
    ({"type": "job", "id": "1", "limit": "0"}, "limit"),
]


def test_wrong_queries_name_their_field(api, viewer, project):
    client = api(viewer)
    answers = [client.get(URL, query) for query, _ in WRONG_QUERIES]
    errors = [(answer.status_code, answer.json()["error"]["field"]) for answer in answers]
    assert errors == [(422, field) for _, field in WRONG_QUERIES]


def test_another_project_is_not_there(api, stranger, project):
    assert api(stranger).get(URL, {"type": "job", "id": "1"}).status_code == 404


def test_without_the_scope_it_is_refused(api, make_token, viewer):
    secret, _ = make_token(viewer, scopes=["data:write"])
    assert api(secret).get(URL, {"type": "job", "id": "1"}).status_code == 403
