"""A folder of Parquet parts is a table: its rows in the order of paths, whatever reads them; parts that do not fit."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.diff.run import run as diff
from deepseek.diff.spec import DiffSpec
from deepseek.fit.facts import read_table_facts
from deepseek.job import EngineError, Silent
from deepseek.profile.run import run as profile
from deepseek.profile.spec import ProfileSpec
from deepseek.tables.part_footers import describe_parts, read_frames
from deepseek.tables.part_manifest import encode_frame
from deepseek.tables.parts import compute_table_sha256, list_parts
from deepseek.tables.sample import read_sample
from deepseek.tables.sources import open_table, read_whole_table
from deepseek.tables.spec import CsvSpec
from tests.deepseek.table_files import write_files

ROWS = 300
DIFFERS = "partition_schema_differs"
GENERATOR = np.random.default_rng(7)
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS)),
        "price": pa.array(GENERATOR.normal(size=ROWS), mask=GENERATOR.random(ROWS) < 0.1),
        "city": pa.array(GENERATOR.choice(["Bern", "Basel", "Genf"], ROWS)),
    }
)


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    return folder


@pytest.fixture
def single(tmp_path):
    pq.write_table(TABLE, tmp_path / "single.parquet")
    return tmp_path / "single.parquet"


def test_a_file_is_its_own_part_and_a_folder_is_in_the_order_of_paths(parts):
    (parts / "b").mkdir()
    for name in ("b/1.parquet", "a2.parquet", "a10.PARQUET"):
        pq.write_table(TABLE.slice(0, 2), parts / name)
    (parts / "_SUCCESS").touch()
    assert list_parts(parts / "a2.parquet") == [parts / "a2.parquet"]
    assert [path.relative_to(parts).as_posix() for path in list_parts(parts)] == [
        "a10.PARQUET",
        "a2.parquet",
        "b/1.parquet",
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 2 * ROWS])  # of the last every other one is empty
def test_every_reader_gives_the_same_rows(parts, single, count):
    write_files(TABLE.slice(0, 20) if count > ROWS else TABLE, parts, min(count, 40))
    expected = TABLE.slice(0, 20) if count > ROWS else TABLE
    source = open_table(parts, CsvSpec(), None)
    ordered = pa.concat_tables([pq.read_table(path) for path in list_parts(parts)])
    assert pa.Table.from_batches(source.batches).equals(ordered)
    assert read_whole_table(parts).equals(ordered.combine_chunks())
    assert (source.rows, source.nulls["price"]) == (expected.num_rows, expected["price"].null_count)
    sample = read_sample(parts, CsvSpec(), rows=17, head=2**20)
    assert (sample.table, sample.rows) == (ordered.slice(0, 17), expected.num_rows)
    assert read_table_facts(None, parts).rows == expected.num_rows


@pytest.mark.parametrize("count", [2, 7])
def test_engines_write_the_same_bytes(tmp_path, parts, single, count):
    write_files(TABLE, parts, count)
    reports = []
    for name, path in (("one", single), ("several", parts)):
        profile(ProfileSpec(), inputs={"table": path}, out=tmp_path / name, report=Silent())
        reports.append((tmp_path / name / "quality.json").read_bytes())
    assert reports[0] == reports[1]
    result = diff(
        DiffSpec(keys=["id"]), inputs={"before": single, "after": parts}, out=tmp_path / "diff", report=Silent()
    )
    assert result.summary == {"added": 0, "removed": 0, "changed": 0, "same": ROWS}


def test_the_digest_is_that_of_the_manifest(parts, single):
    part = write_files(TABLE, parts, 1)[0]
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    assert compute_table_sha256(single) == hashlib.sha256(single.read_bytes()).hexdigest()
    row = (
        f'{{"media_type":"application/vnd.apache.parquet","path":"part-0.parquet","sha256":"{digest}",'
        f'"size":{part.stat().st_size}}}'
    )
    manifest = f'{{"files":[{row}],"schema":"plane/dataset-manifest/v1"}}'
    assert compute_table_sha256(parts) == hashlib.sha256(manifest.encode()).hexdigest()


def retype(table):
    return table.set_column(1, "price", table["price"].cast(pa.string()))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (retype, DIFFERS, "The part part-1.parquet has the column 'price' as string, the first part as double."),
        (lambda table: table.drop_columns(["city"]), DIFFERS, "'city' as missing, the first part as string"),
        (lambda table: table.select(["price", "id", "city"]), DIFFERS, "part-1.parquet has the column 'id'"),
        (None, "broken_parquet", "The part part-1.parquet cannot be read"),
    ],
    ids=["type", "column", "order", "cut"],
)  # fmt: skip
def test_a_part_that_does_not_fit_is_named(parts, change, code, words):
    second = write_files(TABLE, parts, 3)[1]
    if change is None:
        second.write_bytes(second.read_bytes()[:-30])
    else:
        pq.write_table(change(pq.read_table(second)), second)
    with pytest.raises(EngineError) as caught:
        open_table(parts, CsvSpec(), None, slot="inputs/before")
    error = caught.value
    assert (error.code, error.value, error.field) == (code, "part-1.parquet", "inputs/before")
    assert words in str(error.message)
    if change is None:
        return
    frames = (encode_frame(path.name, read_end(path)) for path in sorted(parts.iterdir()))
    with pytest.raises(EngineError) as from_footers:
        describe(frames)
    assert str(from_footers.value.message) == str(error.message)


def read_end(path):
    """The file from its footer's metadata on."""
    data = path.read_bytes()
    return data[-8 - int.from_bytes(data[-8:-4], "little") :]


def describe(frames):
    return describe_parts(read_frames(io.BytesIO(b"".join(frames))))


def test_footers_tell_columns_and_rows(parts):
    paths = write_files(TABLE.slice(0, 3), parts, 7)
    described = describe(encode_frame(path.name, read_end(path)) for path in paths)
    assert described.rows == [pq.read_metadata(path).num_rows for path in paths]
    assert described.columns[1] == {"name": "price", "dtype": "double"}


def test_no_part_and_no_row(parts):
    with pytest.raises(EngineError, match="holds no Parquet file"):
        list_parts(parts)
    paths = write_files(TABLE.slice(0, 0), parts, 2)
    for read in (lambda: open_table(parts, CsvSpec(), None), lambda: read_sample(parts, CsvSpec(), rows=5, head=2**20)):
        with pytest.raises(EngineError) as caught:
            read()
        assert caught.value.code == "table_empty"
    with pytest.raises(EngineError, match="None of the 2 parts has a row"):
        describe(encode_frame(path.name, read_end(path)) for path in paths)
