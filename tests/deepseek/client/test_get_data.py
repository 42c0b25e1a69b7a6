from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = "day,price\n1,70.1\n2,\n3,71.4\n"


@pytest.fixture
def prices(plane, write):
    """The dataset prices with one version."""
    plane.dataset("prices").upload(write(TABLE, "prices.csv"))
    return plane.dataset("prices")


@pytest.mark.parametrize("reference", ["prices:v1", "prices:1"])
def test_files_of_a_version(cli, prices, tmp_path, reference):
    run = cli("data", "get", reference, "-o", "out")
    assert (run.returncode, run.stdout) == (0, "out/table.csv\n")
    assert (tmp_path / "out/table.csv").read_text() == TABLE


def test_version_by_number_in_python(prices):
    assert {prices.version(name)["number"] for name in (1, "1", "v1")} == {1}


def test_tag_names_a_version(cli, plane, prices, tmp_path):
    plane.call("PUT", "/datasets/prices/versions/1/tags/stable", {})
    assert cli("data", "get", "prices:stable", "-o", "out").returncode == 0


@pytest.mark.parametrize("reference", ["prices:v2", "absent:v1", "prices:nothing"])
def test_version_that_is_not_there(cli, prices, say_end, reference):
    say_end(cli("data", "get", reference, "-o", "out"), 2, f"There is no {reference} in the project demo", "hint:")


@pytest.mark.parametrize("reference", ["prices", "prices:", ":v1", ""])
def test_what_names_no_version(cli, say_end, reference):
    say_end(cli("data", "get", reference, "-o", "out"), 2, "does not name a version", "limit: NAME:vN")


def test_other_project(cli, prices, stranger, say_end):
    say_end(cli("data", "get", "prices:v1", "-o", "out", who=stranger), 2, "no prices:v1 in the project other")


def test_lists(cli, prices):
    assert cli("data", "ls").stdout.splitlines()[1].split()[:3] == ["prices", "1", "3"]
    assert cli("data", "ls", "prices").stdout.splitlines()[1].split()[:2] == ["prices:v1", "3"]
    assert json.loads(cli("data", "ls", "prices", "--json").stdout)[0]["version"] == "prices:v1"
    assert cli("data", "ls", "absent").returncode == 2


def test_unknown_action(cli):
    assert cli("data", "remove", "prices:v1").returncode == 2
    assert cli("data").returncode == 2
