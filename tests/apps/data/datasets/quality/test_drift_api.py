"""The drift between two versions, computed from their reports when somebody asks."""

import json

import pytest

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"


def report_of(counts, missing=0):
    drawn = {"edges": [0.0, 1.0, 2.0, 3.0], "counts": counts}
    rows = sum(counts) + missing
    column = {"name": "close", "dtype": "double", "missing": missing, "missing_share": missing / rows}
    column |= {"numeric": {"histogram": drawn}}
    return json.dumps({"schema": "plane/quality-report/v2", "rows": rows, "columns": [column]}).encode()


@pytest.fixture
def versions(added, held):
    """Three versions, of which the third is not measured."""
    return [
        added({"table.csv": held(b"one")}, quality=held(report_of([100, 100, 100])))[0],
        added({"table.csv": held(b"two")}, quality=held(report_of([10, 50, 240], 100)))[0],
        added({"table.csv": held(b"three")})[0],
    ]


def test_the_version_before_is_what_it_is_measured_against(api, viewer, versions):
    answer = api(viewer).get(f"{URL}/2/drift")
    told = answer.json()
    assert (answer.status_code, told["schema"], told["verdict"]) == (200, "plane/drift/v1", "changed")
    assert told["against"] == {"dataset": "wti-daily", "version": 1}
    column = told["columns"][0]
    assert (column["verdict"], column["reasons"]) == ("changed", ["psi", "missing_share"])
    assert column["missing_share_change"] == 0.25


def test_any_other_version_may_be_named(api, viewer, versions):
    assert api(viewer).get(f"{URL}/1/drift?against=2").json()["against"]["version"] == 2
    assert api(viewer).get(f"{URL}/1/drift?against=1").json()["verdict"] == "stable"
    assert api(viewer).get(f"{URL}/2/drift?against={versions[0].digest}").status_code == 200


def test_nothing_where_one_of_them_is_not_measured(api, viewer, versions):
    assert api(viewer).get(f"{URL}/3/drift").status_code == 204


def test_what_is_not_there_is_said(api, viewer, stranger, versions):
    assert api(viewer).get(f"{URL}/1/drift").json()["error"]["field"] == "against"
    assert api(viewer).get(f"{URL}/1/drift?against=9").status_code == 404
    assert api(viewer).get(f"{URL}/1/drift?against=-x").status_code == 422
    assert api(stranger).get(f"{URL}/1/drift?against=2").status_code == 404
