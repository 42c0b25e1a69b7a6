"""The lists of models and of the versions of one: what narrows them, their files, and two versions compared."""

from __future__ import annotations

import csv
import io

import pytest

from apps.ml.registry.models import Model, ModelVersion

pytestmark = pytest.mark.services
LIST = "/p/demo/models"


@pytest.fixture
def two(project):
    """A model with two versions, and one without any."""
    Model.objects.create(project=project, name="empty", created_by="engineer")
    model = Model.objects.create(project=project, name="wti", created_by="engineer", versions_count=2)
    facts = {"document": "{}", "task": "forecast", "target": "close", "created_by": "engineer"}
    metrics = [{"name": "rmse", "value": 1.5, "unit": "USD"}]
    for number in (1, 2):
        ModelVersion.objects.create(model=model, number=number, digest=f"{number}" * 64, metrics=metrics, **facts)
    return model


@pytest.fixture
def table(web, engineer):
    client = web(engineer)

    def ask(where: str) -> list[list[str]]:
        body = b"".join(client.get(where).streaming_content)
        return list(csv.reader(io.StringIO(body.decode(), newline="")))

    return ask


def test_a_file_of_models_says_their_figures(table, two):
    assert table(f"{LIST}?format=csv&columns=newest,newest_figure&sort=-name") == [
        ["name", "newest", "newest_figure"],
        ["wti", "2", "rmse 1.5 USD"],
        ["empty", "0", ""],
    ]


def test_what_is_in_production_narrows_the_list(table, two):
    assert [row[0] for row in table(f"{LIST}?format=csv&production=no")[1:]] == ["empty", "wti"]
    assert table(f"{LIST}?format=csv&production=yes")[1:] == []


@pytest.mark.parametrize("query", ["?production=maybe", "?sort=by", "?registered_after=soon"])
def test_nonsense_is_said(web, engineer, two, query):
    assert web(engineer).get(LIST + query).status_code == 422


def test_a_file_of_versions(table, two):
    found = table(f"{LIST}/wti?format=csv&columns=figure&sort=version")
    assert found == [["version", "figure"], ["1", "rmse 1.5 USD"], ["2", "rmse 1.5 USD"]]
    assert table(f"{LIST}/wti?format=csv&alias=production")[1:] == []


def test_two_selected_versions_are_compared(web, engineer, two):
    assert web(engineer).get(f"{LIST}/wti/compare?ids=1&ids=2").url == f"{LIST}/wti/2/compare?with=1"


@pytest.mark.parametrize("query", ["", "?ids=1", "?ids=1&ids=1", "?ids=1&ids=2&ids=3", "?ids=x&ids=1"])
def test_other_counts_are_said(web, engineer, two, query):
    assert web(engineer).get(f"{LIST}/wti/compare{query}").status_code == 422
