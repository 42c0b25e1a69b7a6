"""A push into a dataset that expects something: its table is checked meanwhile, and what does not hold is named."""

from __future__ import annotations

import hashlib

import pytest

from tests.git.conftest import CHECK_LIMIT

TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,57.9\n2026-01-04,58.1\n"
BROKEN = TABLE + b"2026-01-05,-3\n2026-01-05,58.2\n2026-01-06,\n"
EXPECTED = [
    {"kind": "unique", "columns": ["day"]},
    {"kind": "range", "column": "close", "minimum": 0},
    {"kind": "not_null", "column": "close", "severity": "warning"},
]
PLAIN = "*.csv !filter !diff !merge !text"  # behind the line that gives them to LFS
STORED = """
import json
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
rows = Artifact.objects.values_list("digest", flat=True)
print(json.dumps([sorted(rows), sorted(one.digest for one in get_store().objects())]))
"""


@pytest.fixture(params=["lfs", "plain"])
def kind(request):
    """Where the bytes of the table lie: in the store, behind a pointer, or in Git."""
    return request.param


@pytest.fixture
def clone(plane, client, url, uploaded):
    """clone(name, kind) -> a clone of a dataset with one version, which expects EXPECTED since."""

    def of(name: str, kind: str = "lfs"):
        uploaded(name, TABLE)
        here = client.clone(url(name), name)
        if kind == "plain":
            with (here.at / ".gitattributes").open("a") as file:
                file.write(PLAIN + "\n")
        plane.plane.call("PUT", f"/datasets/{name}/expectations", {"expectations": EXPECTED})
        return here

    return of


def test_a_table_that_holds_becomes_a_version(plane, clone, kind):
    name = f"holds-{kind}"
    here = clone(name, kind)
    table = TABLE + {"lfs": b"2026-01-05,\n", "plain": b"2026-01-06,\n"}[kind]  # one job measures equal bytes
    here.write("table.csv", table)
    sha = here.commit("a day without a price")
    said = here.run("push")
    assert f"remote: {name} v2: 1 file, 4 rows" in said
    assert "remote: 2 of 3 expectations hold." in said
    assert "remote: Warning: The expectation 3 (not_null close) does not hold: 1 of 4 rows break it." in said
    made = plane.plane.get(f"/datasets/{name}/versions/2")
    assert (made["params"]["commit"], made["script"]) == (sha, "git push")
    assert made["files"][0]["digest"] == hashlib.sha256(table).hexdigest()
    assert [job["kind"] for job in plane.plane.get("/jobs", name=f"{name} v2")["items"]] == ["profile"]
    assert (here.run("cat-file", "-s", "HEAD:table.csv").strip() == str(len(table))) is (kind == "plain")


def test_a_table_that_does_not_hold_is_refused_with_its_rows(plane, clone, kind):
    name = f"fails-{kind}"
    here = clone(name, kind)
    head = here.run("ls-remote", "origin", "main").split()[0]
    here.write("table.csv", BROKEN)
    here.commit()
    if kind == "lfs":
        here.run("lfs", "push", "--all", "origin", "main")
    before = plane.ask(STORED)
    said = here.run("push", status=1)
    first = "(unique day) does not hold: 1 of 6 rows break it. The first: row 5: as in row 4."
    second = "(range close: >= 0) does not hold: 1 of 5 rows break it. The first: row 4: -3."
    assert f"remote: The expectation 1 {first}" in said
    assert f"remote: The expectation 2 {second}" in said
    assert said.count("widen the expectation") == 1
    assert "(not_null close)" not in said
    assert here.run("ls-remote", "origin", "main").split()[0] == head
    assert plane.plane.get(f"/datasets/{name}")["versions"] == 1
    assert plane.ask(STORED) == before
    here.write("table.csv", TABLE + b"2026-01-05,3\n")
    here.commit("as it shall be")
    assert f"{name} v2" in here.run("push")


def test_a_table_that_is_too_large_is_left_to_a_job(plane, clone):
    here = clone("large")
    rows = b"2026-01-02,1.000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n"
    data = b"day,close\n" + rows * (CHECK_LIMIT // len(rows) + 1)
    here.write("table.csv", data)
    here.commit()
    said = here.run("push", status=1)
    assert f"table.csv has {len(data)} bytes, and only up to {CHECK_LIMIT} bytes are checked while you wait" in said
    assert "to a job of the kind profile" in said
    assert plane.plane.get("/datasets/large")["versions"] == 1


def test_a_push_without_a_table_and_one_that_changes_only_another_file(plane, clone):
    here = clone("beside")
    here.write("README.md", b"# prices\n")
    here.commit()
    assert "2 files, 3 rows" in here.run("push")
    here.run("rm", "table.csv")
    here.commit()
    assert "none of these files is a table" in here.run("push", status=1)
    assert plane.plane.get("/datasets/beside")["versions"] == 2
