from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def model(registered):
    """Version 1 of wti-forecast, with the variants fp32 and int8."""
    return registered()


def test_trained_variant_with_its_manifest_and_rows(cli, model, tmp_path):
    run = cli("models", "get", "wti-forecast:v1", "-o", "out")
    assert (run.returncode, run.stdout.split()) == (
        0,
        ["out/model.fp32", "out/heldout.safetensors", "out/model.json"],
    )
    assert (tmp_path / "out/model.fp32").read_bytes().startswith(b"fp32 of ")
    assert (tmp_path / "out/heldout.safetensors").read_bytes() == b"rows"
    assert (tmp_path / "out/model.json").read_bytes().startswith(b"manifest fp32")


def test_other_variant(cli, model, tmp_path):
    assert cli("models", "get", "wti-forecast:1", "--variant", "int8", "-o", "out").returncode == 0
    assert (tmp_path / "out/model.int8").exists()


def test_alias_names_a_version(cli, plane, model):
    plane.call("PUT", "/models/wti-forecast/aliases/champion", {"version": 1})
    assert cli("models", "get", "wti-forecast:champion", "-o", "out").returncode == 0


def test_downloaded_again_it_is_left_as_it_is(cli, model):
    runs = [cli("models", "get", "wti-forecast:v1", "-o", "out") for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize("reference", ["wti-forecast:v2", "absent:v1", "wti-forecast:nothing"])
def test_version_that_is_not_there(cli, model, say_end, reference):
    say_end(cli("models", "get", reference, "-o", "out"), 2, f"There is no {reference} in the project demo")


def test_variant_that_is_not_there(cli, model, say_end):
    run = cli("models", "get", "wti-forecast:v1", "--variant", "int4", "-o", "out")
    say_end(run, 2, "has no variant 'int4'", "field: --variant", "limit: fp32, int8")


def test_other_project(cli, model, stranger, say_end, tmp_path):
    say_end(cli("models", "get", "wti-forecast:v1", "-o", "out", who=stranger), 2, "in the project other")
    assert not (tmp_path / "out").exists()


def test_lists(cli, model):
    assert cli("models", "ls").stdout.splitlines()[1].split()[:2] == ["wti-forecast", "1"]
    assert cli("models", "ls", "wti-forecast").stdout.splitlines()[1].split()[:3] == [
        "wti-forecast:v1",
        "-",
        "forecast",
    ]
