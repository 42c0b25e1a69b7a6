from datetime import UTC, datetime

import pytest

from apps.data.datasets.models import Dataset, DatasetVersion

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/projects/demo/datasets"


@pytest.mark.parametrize("count", [2, 8])
def test_the_list_costs_the_same_for_any_number(api, viewer, project, added, held, count, django_assert_num_queries):
    for n in range(count):
        dataset = Dataset.objects.create(project=project, name=f"d-{n}", created_by="x")
        added({"a": held()}, into=dataset, rows=n)
    client = api(viewer)
    client.get(URL)  # notes the token's use
    with django_assert_num_queries(4):
        items = client.get(URL, {"limit": 100}).json()["items"]
    shown = {item["name"]: (item["versions"], item["rows"]) for item in items if item["versions"]}
    assert shown == {f"d-{n}": (1, n) for n in range(count)}


@pytest.mark.parametrize(("query", "names"), [("WTI", ["wti-daily"]), ("crude", ["wti-daily"]), ("x", [])])
def test_the_list_narrows(api, viewer, dataset, query, names):
    Dataset.objects.create(project=dataset.project, name="other", created_by="y")
    Dataset.objects.filter(pk=dataset.pk).update(description="Crude oil")
    assert [item["name"] for item in api(viewer).get(URL, {"q": query}).json()["items"]] == names


def test_days_narrow_the_list_and_the_last_change_leads(api, viewer, project):
    for day, name in ((3, "second"), (2, "first"), (4, "third")):
        touched = datetime(2026, 3, day, 12, tzinfo=UTC)
        Dataset.objects.filter(pk=Dataset.objects.create(project=project, name=name).pk).update(touched_at=touched)
    client, between = api(viewer), {"changed_after": "2026-03-03", "changed_before": "2026-03-04", "limit": 1}
    first = client.get(URL, between).json()
    second = client.get(URL, between | {"cursor": first["next"]}).json()
    assert [item["name"] for item in first["items"] + second["items"]] == ["third", "second"]
    assert second["next"] is None


@pytest.mark.parametrize("name", ["changed_after", "changed_before"])
def test_what_is_no_day_is_said(api, viewer, project, name):
    answer = api(viewer).get(URL, {name: "yesterday"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, name)


def test_make_one_empty(api, engineer, project):
    answer = api(engineer).post(URL, {"name": "wti-daily", "description": "Crude"})
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{URL}/wti-daily")
    assert answer.json()["rows"] is None
    again = api(engineer).post(URL, {"name": "wti-daily"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "dataset_exists")


@pytest.mark.parametrize(
    ("body", "field"), [({}, "/name"), ({"name": "No"}, "name"), ({"name": "a", "x": 1}, "/x"), ([], None)]
)
def test_a_bad_body_is_named(api, engineer, body, field):
    answer = api(engineer).post(URL, body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert not Dataset.objects.exists()


def test_read_one(api, viewer, dataset):
    assert api(viewer).get(f"{URL}/wti-daily").json()["versions"] == 0
    assert api(viewer).get(f"{URL}/nothing").status_code == 404


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404)])
def test_takes_an_engineer_of_the_project(request, api, project, who, status):
    assert api(request.getfixturevalue(who)).post(URL, {"name": "a"}).status_code == status


def test_a_stranger_sees_nothing(api, stranger, dataset, added, held):
    added({"a": held()})
    client = api(stranger)
    tails = ["", "/wti-daily", "/wti-daily/versions", "/wti-daily/versions/1", "/wti-daily/versions/1/files/a"]
    assert {client.get(f"{URL}{tail}").status_code for tail in tails} == {404}


def test_the_same_name_in_another_project_is_another(api, stranger, added, held):
    added({"a": held()})
    assert api(stranger).get("/api/v1/projects/other/datasets").json()["items"] == []
    assert api(stranger).get("/api/v1/projects/other/datasets/wti-daily/versions/1").status_code == 404
    assert DatasetVersion.objects.count() == 1
