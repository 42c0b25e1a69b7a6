"""What an engineer does in a day: clone, track, commit, push; and the versions that others have made, by a pull."""

from __future__ import annotations

import hashlib
import secrets
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.running import manage

TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n2026-01-04,58.1\n"


def test_an_uploaded_version_is_cloned_with_its_bytes(client, url, uploaded):
    made = uploaded("cloned", TABLE, note="first")
    clone = client.clone(url("cloned"))
    assert (clone.at / "table.csv").read_bytes() == TABLE
    assert "*.parquet filter=lfs" in (clone.at / ".gitattributes").read_text()
    assert clone.run("status", "--porcelain") == ""
    said = clone.run("log", "-1", "--format=%B%an")
    assert "cloned v1" in said
    assert "first" in said
    assert made["digest"] in said
    assert clone.run("lfs", "ls-files", "--long").split()[0] == hashlib.sha256(TABLE).hexdigest()


def test_a_pushed_commit_becomes_a_version(plane, client, url, uploaded):
    uploaded("pushed", TABLE)
    clone = client.clone(url("pushed"))
    clone.run("lfs", "track", "*.bin")
    data = secrets.token_bytes(300_000)
    clone.write("more/weights.bin", data)
    clone.write("README.md", b"# what it is\n")
    clone.write("table.csv", TABLE + b"2026-01-05,58.4\n")
    sha = clone.commit("add a day\n\nand the weights")
    said = clone.run("push", "origin", "main")
    assert "remote: pushed v2: 3 files, 4 rows" in said
    assert "/p/demo/data/pushed/2" in said
    version = plane.plane.get("/datasets/pushed/versions/2")
    assert {file["path"] for file in version["files"]} == {"more/weights.bin", "README.md", "table.csv"}
    assert (
        next(f["digest"] for f in version["files"] if f["path"] == "more/weights.bin")
        == hashlib.sha256(data).hexdigest()
    )
    assert (version["script"], version["rows"], version["note"]) == ("git push", 4, "add a day\n\nand the weights")
    assert version["params"] == {"commit": sha, "author": "Wei <wei@example.com>", "branch": "main"}


def test_a_pushed_table_is_measured(plane, client, url, uploaded, tokens):
    uploaded("measured", TABLE)
    clone = client.clone(url("measured", "pusher"))
    clone.write("table.csv", TABLE + b"2026-01-07,59.2\n")
    clone.commit()
    clone.run("push")
    named = [(job["kind"], job["requester"]) for job in plane.plane.get("/jobs", name="measured v2")["items"]]
    assert named == [("profile", "dispatcher")]  # this token may not submit jobs


def test_a_deleted_version_is_out_of_the_way_of_a_clone(plane, client, url, uploaded):
    uploaded("gone", TABLE)
    clone = client.clone(url("gone"))
    wrong = TABLE + b"2026-01-06,name of a patient\n"
    uploaded("gone", wrong)
    clone.run("pull", "--ff-only")
    plane.plane.call("DELETE", "/datasets/gone/versions/2?reason=wrong+file")
    done = manage(plane.home, plane.environment, "collect_garbage", "--older-than", "0m")
    assert hashlib.sha256(wrong).hexdigest() in done.stdout
    again = client.clone(url("gone"), "again")
    assert (again.at / "table.csv").read_bytes() == TABLE
    again.run("checkout", "HEAD~1", status=1)  # whoever asks for what was deleted does not get it
    clone.run("pull", "--ff-only")
    assert (clone.at / "table.csv").read_bytes() == TABLE
    uploaded("gone", wrong)
    clone.run("pull", "--ff-only")
    assert (clone.at / "table.csv").read_bytes() == wrong


def test_a_version_that_another_made_comes_by_a_pull(client, url, uploaded):
    uploaded("pulled", TABLE)
    clone = client.clone(url("pulled"))
    clone.write("notes.txt", b"mine\n")
    clone.commit()
    clone.run("push")
    more = TABLE + b"2026-01-06,59.0\n"
    uploaded("pulled", more)
    clone.run("pull", "--ff-only")
    assert (clone.at / "table.csv").read_bytes() == more
    assert not (clone.at / "notes.txt").exists()  # the version has the table alone
    assert "pulled v3" in clone.run("log", "-1", "--format=%s")
    assert clone.run("status", "--porcelain") == ""


def test_a_push_makes_the_dataset(plane, client, url):
    client.run("init", "new")
    client.at = client.at / "new"
    client.run("lfs", "track", "*.parquet")
    client.write("a.csv", TABLE)
    client.commit()
    client.run("remote", "add", "origin", url("fresh"))
    assert "fresh v1: 1 file, 3 rows" in client.run("push", "-u", "origin", "main")
    assert plane.plane.get("/datasets/fresh")["versions"] == 1
    assert client.run("push") == "Everything up-to-date\n"


def test_parquet_files_of_one_schema_are_a_table_in_parts(plane, client, url):
    client.run("init", "parts")
    client.at = client.at / "parts"
    client.run("lfs", "track", "*.parquet")
    for day, rows in ((1, 2), (2, 3)):
        pq.write_table(pa.table({"day": [day] * rows, "close": [57.5] * rows}), client.at / f"day-{day}.parquet")
    client.commit()
    client.run("remote", "add", "origin", url("parts"))
    assert "parts v1: 2 files, 5 rows" in client.run("push", "-u", "origin", "main")
    version = plane.plane.get("/datasets/parts/versions/1")
    assert [column["name"] for column in version["columns"]] == ["day", "close"]
    pq.write_table(pa.table({"day": [3], "close": ["58"]}), client.at / "day-3.parquet")
    client.commit("another type")
    told = client.run("push")
    assert "parts v2: 3 files" in told
    assert "These Parquet files are not the parts of one table: The part day-3.parquet" in told
    versions = [plane.plane.get(f"/datasets/parts/versions/{number}") for number in (1, 2)]
    assert [(each["rows"], each["parts"]) for each in versions] == [(5, 2), (None, 0)]


def test_the_same_files_again_are_the_same_version(plane, client, url, uploaded):
    uploaded("same", TABLE)
    clone = client.clone(url("same"))
    clone.run("commit", "--allow-empty", "-m", "nothing new")
    assert "same v1 already" in clone.run("push")
    assert plane.plane.get("/datasets/same")["versions"] == 1


def test_a_lost_folder_comes_back_with_the_same_commits(plane, client, url, uploaded):
    uploaded("lost", TABLE)
    clone = client.clone(url("lost"))
    clone.write("b.csv", TABLE)
    clone.commit("one")
    clone.write("b.csv", TABLE * 2)
    clone.commit("two")
    clone.run("push")
    uploaded("lost", TABLE + b"2026-02-01,1\n")
    clone.run("pull")
    before = clone.run("log", "--format=%H")
    shutil.rmtree(plane.home / "repositories")
    again = client.clone(url("lost"), "again")
    assert again.run("log", "--format=%H") == before
    again.run("fsck", "--full")


def test_plain_files_of_more_than_a_megabyte_go_in_chunks(plane, client, url):
    client.run("init", "plain")
    client.at = client.at / "plain"
    data = secrets.token_bytes(3_000_000)
    client.write("image.raw", data)
    client.commit()
    client.run("remote", "add", "origin", url("plain"))
    said = client.run("push", "origin", "main", GIT_CURL_VERBOSE="1")
    assert "chunked" in said.lower()
    (file,) = plane.plane.get("/datasets/plain/versions/1")["files"]
    assert file["digest"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_every_version_of_the_protocol_is_spoken(client, url, uploaded, version):
    uploaded("spoken", TABLE)
    client.run("config", "--global", "protocol.version", version)
    clone = client.clone(url("spoken"), f"clone{version}")
    assert (clone.at / "table.csv").read_bytes() == TABLE
