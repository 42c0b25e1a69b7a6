"""GET .../versions/1/rows: a page of a table's rows, filtered and sorted by the bounded child."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.data.datasets.services import upload_csv
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.versions.masked_columns import MASKED_COLUMNS

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions/1/rows"


@pytest.fixture
def table_version(added, held):
    table = pa.table({"day": [f"d{n:03d}" for n in range(120)], "close": [float(n % 7) for n in range(119)] + [None]})
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=32)
    columns = [{"name": "day", "dtype": "string"}, {"name": "close", "dtype": "double"}]
    return added({"table.parquet": held(stream.getvalue(), media_type=PARQUET)}, rows=120, columns=columns)[0]


def test_a_parquet_table_is_filtered_and_sorted(api, viewer, table_version):
    query = {"column": ["day", "close"], "op": ["contains", "lte"], "value": ["D1", "2"], "sort": "-close"}
    document = api(viewer).get(URL, query).json()
    assert [row["cells"] for row in document["rows"]][:3] == [["d100", "2.0"], ["d107", "2.0"], ["d114", "2.0"]]
    assert (document["matches"], document["total"], document["complete"]) == (7, 120, True)


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"column": "close", "op": "eq"}, "column", "invalid"),
        ({"column": "close", "op": "like", "value": "1"}, "op", "invalid"),
        ({"sort": "close", "offset": "9999"}, "offset", "invalid"),
        ({"q": "x" * 201}, "q", "invalid"),
    ],
)
def test_a_bad_request_names_its_field(inline_rows, api, viewer, table_version, query, field, code):
    answer = api(viewer).get(URL, query)
    assert (answer.status_code, answer.json()["error"]["field"], answer.json()["error"]["code"]) == (422, field, code)


def test_the_engine_says_what_is_wrong_with_a_value(inline_rows, api, viewer, table_version):
    answer = api(viewer).get(URL, {"column": "close", "op": "gte", "value": "high"})
    error = answer.json()["error"]
    assert [answer.status_code, *(error[key] for key in ("code", "field", "limit"))] == [
        422,
        "filter_value",
        "value",
        "a number",
    ]


def test_a_hidden_column_neither_filters_nor_sorts(inline_rows, api, viewer, table_version):
    client = api(viewer)
    with MASKED_COLUMNS.override({"test": lambda version: {"close"}}):
        for query in ({"sort": "close"}, {"column": "close", "op": "eq", "value": "1"}):
            assert client.get(URL, query).json()["error"]["code"] == "column_masked"
        assert client.get(URL, {"limit": 2}).json()["rows"][0]["cells"] == ["d000", "***"]


def test_csv_is_read_block_by_block(inline_rows, api, viewer, worker_actor, project, held):
    data = b"n,text\n" + b"".join(b'%d,"a,%d"\n' % (n, n % 3) for n in range(300))
    upload_csv(actor=worker_actor, project=project, dataset_name="wti-daily", artifact=held(data))
    client = api(viewer)
    first = client.get(URL, {"column": "text", "op": "eq", "value": "a,1"}).json()
    assert [row["number"] for row in first["rows"]] == list(range(2, 151, 3))
    second = client.get(URL, {"column": "text", "op": "eq", "value": "a,1", "after": first["next"]}).json()
    assert [row["number"] for row in second["rows"]] == list(range(152, 300, 3))
    for place in ("151-0-0-9", first["next"].replace("-0-0-", "-0-0-9"), "1.5"):  # cells under other columns
        assert client.get(URL, {"after": place}).json()["error"]["code"] == "bad_place"
    assert client.get(URL, {"sort": "-n", "limit": 1}).json()["rows"] == [{"number": 300, "cells": ["299", "a,2"]}]


def test_who_may_not_see_it_gets_no_row(api, stranger, table_version):
    assert api(stranger).get(URL).status_code == 404


def test_rows_go_on_from_part_to_part(inline_rows, api, viewer, engineer, held, project):
    files = []
    for name, first, count in (("b", 70, 50), ("a", 0, 70)):
        stream = io.BytesIO()
        pq.write_table(pa.table({"n": list(range(first, first + count))}), stream)
        files.append({"path": f"{name}.parquet", "digest": held(stream.getvalue(), media_type=PARQUET).digest})
    api(engineer).post(URL.removesuffix("/1/rows"), {"files": files, "measure": False}, format="json")
    document = api(viewer).get(URL, {"limit": 5, "after": "68"}).json()
    assert [(row["number"], row["cells"]) for row in document["rows"]] == [(n + 1, [str(n)]) for n in range(68, 73)]
    assert document["total"] == 120
    document = api(viewer).get(URL, {"column": "n", "op": "gte", "value": "118"}).json()
    assert [row["number"] for row in document["rows"]] == [119, 120]
