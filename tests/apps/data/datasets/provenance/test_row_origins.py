"""From a row of a cleaned version to the row of the upload that it was, and back again."""

import random
import struct

import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.row_origin_runs import (
    NARROW_READ_BYTES,
    NO_ORIGIN,
    RUN,
    find_output_rows,
    find_source_row,
)
from apps.data.datasets.provenance.row_origins import trace_descendants, trace_origin
from apps.data.datasets.services import add_version_from_job_output
from apps.data.datasets.versions.manifest import PARQUET
from apps.platform.artifacts.verification import read_verified

pytestmark = pytest.mark.django_db
KIND = "application/vnd.plane.row-origins"


def runs(*pairs):
    return b"".join(struct.pack("<QQ", row, NO_ORIGIN if source is None else source) for row, source in pairs)


@pytest.fixture
def made_of(worker_actor, project, held, job):
    """made_of(source artifact, bytes, rows, origins=bytes or None for kept) -> the registered version."""

    def make(source, data, rows, origins=None, name="clean"):
        meta = {"rows": rows, "origins": "kept" if origins is None else "runs"}
        outputs = [("table", held(data), "table.parquet", PARQUET, meta)]
        if origins is not None:
            outputs.append(("origins", held(origins), "origins.bin", KIND, {}))
        facts = {"dataset_name": name, "outputs": outputs, "job": job(table=source), "script": "test", "params": {}}
        return add_version_from_job_output(actor=worker_actor, project=project, **facts)[0]

    return make


@pytest.fixture
def asked(api, viewer):
    def ask(version, row, what="origin", status=200):
        url = f"/api/v1/projects/demo/datasets/{version.dataset.name}/versions/{version.number}/rows/{row}/{what}"
        answer = api(viewer).get(url)
        assert answer.status_code == status
        return answer.json()

    return ask


@pytest.fixture
def uploaded(added, held):
    return added({"table.csv": held()}, media_type="text/csv")[0]


def test_a_row_leads_to_its_source_row_and_file(uploaded, made_of, held, asked):
    first = made_of(held(), b"PAR1 a", 2, runs((0, 1)))  # the first row was dropped
    second = made_of(held(b"PAR1 a"), b"PAR1 b", 2, name="again")  # every row kept
    assert (first.origin_version, second.origin_version) == (uploaded, first)
    assert (first.keeps_rows, second.keeps_rows) == (False, True)
    found = asked(second, 2)
    assert [(hop["dataset"], hop["row"]) for hop in found["hops"]] == [("again", 2), ("clean", 2), ("wti-daily", 3)]
    assert found["ends"] == "source"
    last = found["hops"][-1]
    assert (last["path"], last["cells"]["values"]) == ("table.csv", ["2026-01-04", "58.1"])
    assert (last["cells"]["start"], last["cells"]["end"]) == (38, 54)


def test_a_row_that_a_step_put_in_comes_from_nowhere(uploaded, made_of, held, asked):
    version = made_of(held(), b"PAR1 a", 4, runs((0, 0), (1, None), (2, 1)))
    assert asked(version, 2)["ends"] == "inserted"
    assert [hop["row"] for hop in asked(version, 4)["hops"]] == [4, 3]


def test_a_version_that_says_nothing_of_its_rows(uploaded, held, job, worker_actor, project, asked):
    outputs = [("table", held(b"PAR1 a"), "table.parquet", PARQUET, {"rows": 3})]
    facts = {"dataset_name": "clean", "outputs": outputs, "job": job(table=held()), "script": "test", "params": {}}
    version = add_version_from_job_output(actor=worker_actor, project=project, **facts)[0]
    assert version.origin_version is None
    assert asked(version, 1)["ends"] == "not_recorded"


def test_where_a_row_went(uploaded, made_of, held, asked):
    made_of(held(), b"PAR1 a", 4, runs((0, 2), (1, 0)))  # the last row stands first, and once more at its place
    made_of(held(b"PAR1 a"), b"PAR1 b", 3, runs((0, 1)), name="again")
    found = asked(uploaded, 3, "descendants")
    assert [(one["dataset"], one["hops"], one["rows"]) for one in found["reached"]] == [
        ("clean", 1, [1, 4]),
        ("again", 2, [3]),
    ]
    assert found["truncated"] is False


@pytest.mark.parametrize("row", [0, 4])
def test_a_row_that_is_not_there(uploaded, asked, row):
    for what in ("origin", "descendants"):
        error = asked(uploaded, row, what, status=422)["error"]
        assert (error["field"], error["limit"]) == ("row", "1 to 3")


def test_another_project_sees_nothing(uploaded, api, stranger):
    assert api(stranger).get("/api/v1/projects/demo/datasets/wti-daily/versions/1/rows/1/origin").status_code == 404


def test_many_runs_are_read_in_a_few_narrow_pieces(held, monkeypatch):
    pairs, sources, row, draw = [], {}, 0, random.Random(7)
    for _ in range(20_000):
        source = draw.choice([None, draw.randrange(10**12)])
        length = draw.randrange(1, 5)
        pairs.append((row, source))
        sources |= {row + n: None if source is None else source + n for n in range(length)}
        row += length
    artifact = held(runs(*pairs))
    read = []

    def count(artifact, start, end):
        read.append(end - start)
        return read_verified(artifact, start, end)

    monkeypatch.setattr("apps.data.datasets.provenance.row_origin_runs.read_verified", count)
    for asked in (0, 1, row - 1, *draw.sample(range(row), 50)):
        read.clear()
        assert find_source_row(artifact, asked) == sources[asked]
        assert (len(read) <= 5, sum(read) <= NARROW_READ_BYTES + 5 * RUN.size) == (True, True)


def test_the_way_back_agrees_with_the_way_on(held):
    artifact = held(runs((0, 5), (3, None), (4, 0), (10, 4)))
    for source in range(12):
        there = [row for row in range(12) if find_source_row(artifact, row) == source]
        assert find_output_rows(artifact, [source], 12, 100) == there


@pytest.mark.parametrize("length", [1, 6])
def test_no_length_of_the_chain_costs_more_queries(
    uploaded, made_of, held, actor_for, viewer, length, django_assert_num_queries
):
    version, source = uploaded, held()
    for number in range(length):
        version, source = made_of(source, b"PAR1 %d" % number, 3), held(b"PAR1 %d" % number)
    actor, first = actor_for(viewer), DatasetVersion.objects.select_related("dataset").get(pk=uploaded.pk)
    version = DatasetVersion.objects.select_related("dataset").get(pk=version.pk)
    with django_assert_num_queries(4):
        assert len(trace_origin(actor, version, 1).hops) == length + 1
    with django_assert_num_queries(2):
        assert len(trace_descendants(actor, first, 1).reached) == length


def test_the_page_says_the_way_and_the_preview_leads_to_it(web, viewer, uploaded, made_of, held):
    version = made_of(held(), b"PAR1 a", 2, runs((0, 1)))
    client = web(viewer)
    base = f"/p/demo/data/clean/{version.number}/origin"
    text = client.get(f"{base}?row=2").content.decode()
    assert "wti-daily v1" in text
    assert "58.1" in text
    assert text.count("not shown for Parquet") == 1  # the cells of the Parquet file
    assert "clean v1" in client.get("/p/demo/data/wti-daily/1/origin?row=3").content.decode()
    assert "has no row 9" in client.get(f"{base}?row=9").content.decode()
    assert "Type the number of a row" in client.get(base).content.decode()
    assert "/origin?row=1" in client.get("/p/demo/data/wti-daily/1/preview").content.decode()
