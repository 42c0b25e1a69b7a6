"""The parts of the data's way in one plane: a real table is uploaded, expected of, cleaned by a plan that moves rows,
traced, cloned, pushed, compared, tagged, kept from deletion and from the garbage, and told to others."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.request

import pyarrow.parquet as pq
import pytest

from controlplane.demo.sample_data import wti_csv
from controlplane.rest_client import ApiError
from tests import openlineage_schemas
from tests.faults.running import PATIENCE, ROOT, manage
from tests.git.conftest import start_plane

RATES = b"Date,rate\n" + b"".join(b"1986-01-%02d,6.%02d\n" % (day, day) for day in range(1, 32))
STEPS = [
    {"kind": "deduplicate", "columns": ["Date"], "keep": "first"},
    {"kind": "join", "on": ["Date"], "how": "left", "take": ["rate"]},
    {"kind": "filter", "conditions": [{"column": "DCOILWTICO", "op": "is_present"}]},
    {"kind": "regularise", "column": "Date", "every": 1, "unit": "day", "aggregate": "mean"},
]
EXPECTED = [
    {"kind": "unique", "columns": ["Date"]},
    {"kind": "range", "column": "DCOILWTICO", "minimum": 0, "maximum": 200},
]


@pytest.fixture
def whole(tmp_path_factory, template, services):
    """A plane with a worker and a dispatcher, which tells its jobs to a file."""
    home = tmp_path_factory.mktemp("whole") / "home"
    more = {"OPENLINEAGE_FILE": str(home / "told.jsonl"), "WEB_WORKERS": "1"}
    running = start_plane(home, template, services, parts="web,worker,dispatcher", **more)
    yield running
    running.kill_everything()


@pytest.fixture
def table() -> bytes:
    """400 days of the oil price, negative ones left out; every tenth row stands twice, as in exports that overlap."""
    header, *rows = wti_csv().splitlines(keepends=True)[:401]
    return header + b"".join(row * (2 if number % 10 == 0 else 1) for number, row in enumerate(rows, 1))


def code_of(call, *words) -> str:
    """The code that the plane refuses a call with."""
    with pytest.raises(ApiError) as answer:
        call(*words)
    return answer.value.error["code"]


def test_a_table_from_its_upload_to_its_last_citation(whole, client, tmp_path, table):
    plane = whole.plane
    raw = put(plane, "wti", table)
    assert raw["number"] == 1
    job, clean = cleaned(plane)
    made = bytes_of(whole, "wti-clean", 1, clean["files"][0]["path"])
    measured(plane)
    rows_lead_back(plane, table, made)
    same_by_hand(tmp_path, table, made)
    pushed(whole, client, table)
    compared(plane, len(table.splitlines()) - 1)
    kept(whole)
    told(whole, job)


def put(plane, name: str, data: bytes) -> dict:
    return plane.call("POST", f"/datasets/{name}/versions", data, headers={"Content-Type": "text/csv"})


def bytes_of(whole, name: str, version: int, path: str) -> bytes:
    address = f"{whole.facts()['address']}/api/v1/projects/demo/datasets/{name}/versions/{version}/files/{path}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {whole.token}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.read()


def cleaned(plane) -> tuple[dict, dict]:
    """A dataset that demands something: what does not hold it makes no version, what does makes the first."""
    plane.post("/datasets", {"name": "wti-clean"})
    plane.call("PUT", "/datasets/wti-clean/expectations", {"expectations": EXPECTED})
    rates = plane.call("POST", "/artifacts?name=rates.csv", RATES, headers={"Content-Type": "text/csv"})["digest"]
    into = {"kind": "clean", "register": {"dataset": "wti-clean"}}
    doubled = plane.post("/datasets/wti/versions/1/jobs", {**into, "spec": {"steps": STEPS[2:3]}})
    failed = plane.wait(doubled["id"], seconds=PATIENCE)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "expectation_failed")
    whole = {**into, "spec": {"steps": STEPS}, "inputs": {"join": {"digest": rates}}}
    job = plane.wait(plane.post("/datasets/wti/versions/1/jobs", whole)["id"], seconds=PATIENCE)
    assert job["state"] == "succeeded", job["error"]
    return job, plane.get("/datasets/wti-clean/versions/1")


def measured(plane) -> None:
    """The report, the drift from the raw table, and what made the version."""
    report = plane.get("/datasets/wti-clean/versions/1/quality")
    assert report["schema"] == "plane/quality-report/v3"
    assert [one["verdict"] for one in report["expectations"]] == ["pass", "pass"]
    assert report["drift"]["schema"] == "plane/drift/v1"
    drift = plane.get("/datasets/wti-clean/versions/1/drift")
    assert drift["against"] == {"dataset": "wti", "version": 1}
    made_by = plane.get("/datasets/wti-clean/versions/1/made-by")
    assert {one["slot"] for one in made_by["inputs"]} == {"table", "join"}
    assert {one["slot"] for one in made_by["outputs"]} >= {"table", "origins", "quality_after"}


def rows_lead_back(plane, table: bytes, made: bytes) -> None:
    """Every kind of row: kept, moved up by a dropped one, and put in by a step."""
    source = [line.split(",") for line in table.decode().splitlines()[1:]]
    first = {day: (number, value) for number, (day, value) in reversed(list(enumerate(source, 1))) if value}
    days = [str(day) for day in pq.read_table(io.BytesIO(made)).column("Date").to_pylist()]
    inserted = [number for number, day in enumerate(days, 1) if day[:10] not in first]
    assert len(inserted) > 100
    assert len(days) - len(inserted) == len(first)
    for row in (1, 2, inserted[0], inserted[-1], len(days) // 2, len(days) - 1, len(days)):
        origin = plane.get(f"/datasets/wti-clean/versions/1/rows/{row}/origin")
        if row in inserted:
            assert (origin["ends"], len(origin["hops"])) == ("inserted", 1)
            continue
        number, value = first[days[row - 1][:10]]
        assert origin["ends"] == "source"
        hop = origin["hops"][-1]
        assert (hop["dataset"], hop["number"], hop["row"]) == ("wti", 1, number)
        assert hop["cells"]["values"] == [days[row - 1][:10], value]
        assert table[hop["cells"]["start"] : hop["cells"]["end"]].decode().strip() == f"{days[row - 1][:10]},{value}"
        on = plane.get(f"/datasets/wti/versions/1/rows/{number}/descendants")["reached"]
        assert [(one["dataset"], one["rows"]) for one in on] == [("wti-clean", [row])]


def same_by_hand(folder, table: bytes, made: bytes) -> None:
    """The command line makes the bytes that the job made."""
    for name, data in (("wti.csv", table), ("rates.csv", RATES), ("plan.json", json.dumps(STEPS).encode())):
        (folder / name).write_bytes(data)
    command = [sys.executable, "-m", "deepseek.cli", "clean", "wti.csv", "-o", "out"]
    command += ["--plan", "plan.json", "--join", "rates.csv"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "table.parquet").read_bytes() == made


def pushed(whole, client, table: bytes) -> None:
    """A clone of either dataset; one takes a changed table, the other expects something that it does not hold."""
    scheme, _, rest = whole.facts()["address"].partition("://")
    clean = client.clone(f"{scheme}://git:{whole.token}@{rest}/git/demo/wti-clean.git", "wti-clean")
    (made,) = clean.at.glob("*.parquet")
    assert made.read_bytes()[:4] == b"PAR1"
    clean.write("table.csv", table)
    clean.commit("raw instead")
    said = clean.run("push", status=1)
    assert "(unique Date) does not hold" in said, said
    assert whole.plane.get("/datasets/wti-clean")["versions"] == 1

    raw = client.clone(f"{scheme}://git:{whole.token}@{rest}/git/demo/wti.git", "wti")
    (file,) = raw.at.glob("*.csv")
    lines = table.splitlines(keepends=True)
    once = dict.fromkeys(lines)
    raw.write(file.name, b"".join(line.replace(b",25.", b",26.") for line in once))
    raw.commit("each day once, and dearer")
    assert "wti v2" in raw.run("push")
    assert raw.run("log", "--format=%s").splitlines()[:2] == ["each day once, and dearer", "wti v1"]


def compared(plane, rows: int) -> None:
    """The two versions of the raw table, by the queue: a key that stands twice is named, another one compares."""
    twice = plane.wait(plane.post("/datasets/wti/versions/2/diff/1", {"keys": ["Date"]})["id"], seconds=PATIENCE)
    assert (twice["state"], twice["error"]["code"]) == ("failed", "duplicate_key")
    plan = {"kind": "clean", "spec": {"steps": STEPS[:1]}, "register": {"dataset": "wti-once"}}
    once = plane.wait(plane.post("/datasets/wti/versions/1/jobs", plan)["id"], seconds=PATIENCE)
    assert once["state"] == "succeeded", once["error"]
    done = plane.wait(
        plane.post("/datasets/wti/versions/2/diff/wti-once@1", {"keys": ["Date"]})["id"], seconds=PATIENCE
    )
    assert done["state"] == "succeeded", done["error"]
    found = plane.get("/datasets/wti/versions/2/diff/wti-once@1")["found"]
    assert (found["added"], found["removed"]) == (0, 0)
    assert found["changed"] > 0
    assert found["changed"] + found["same"] == rows * 10 // 11


def kept(whole) -> None:
    """A version that something cites stays; what nothing cites goes, exactly as the dry run listed it."""
    plane = whole.plane
    plane.call("PUT", "/datasets/wti/versions/2/tags/good", {})
    assert plane.get("/datasets/wti/versions/good")["number"] == 2
    for version in (1, 2):
        assert code_of(plane.call, "DELETE", f"/datasets/wti/versions/{version}?reason=wrong") == "version_cited"
    lost = plane.call("POST", "/artifacts?name=lost.csv", b"a\n1\n", headers={"Content-Type": "text/csv"})["digest"]
    listed, gone = (
        manage(whole.home, whole.environment, "collect_garbage", "--older-than", "0m", *more)
        for more in (["--dry-run"], [])
    )
    assert listed.returncode == gone.returncode == 0, listed.stderr + gone.stderr
    assert listed.stdout == gone.stdout
    assert lost in {line.split()[0] for line in gone.stdout.splitlines()}, gone.stdout
    assert plane.get("/datasets/wti-clean/versions/1/rows/1/origin")["ends"] == "source"
    for name, version in (("wti", 1), ("wti", 2), ("wti-clean", 1), ("wti-once", 1)):
        for file in plane.get(f"/datasets/{name}/versions/{version}")["files"]:
            assert hashlib.sha256(bytes_of(whole, name, version, file["path"])).hexdigest() == file["digest"]
    assert plane.get("/datasets/wti-clean/versions/1/quality")["rows"] > 0


def told(whole, job: dict) -> None:
    """What the dispatcher has told outside by now is OpenLineage; the cleaning names the versions that it joined."""
    heard = [json.loads(line) for line in (whole.home / "told.jsonl").read_text().splitlines()]
    for event in heard:
        openlineage_schemas.check(event)
    ended = [one for one in heard if one["eventType"] == "COMPLETE"]
    done = next(one for one in ended if "wti-clean" in {made["name"] for made in one["outputs"]})
    assert "wti" in {one["name"] for one in done["inputs"]}
    answer = json.dumps(whole.plane.get(f"/jobs/{job['id']}/openlineage"))
    assert '"COMPLETE"' in answer
