"""The chain as a person sees it: push a table, clean it by a job, and pull what the job made."""

from __future__ import annotations

TABLE = b"day,close\n" + b"".join(
    b"2026-01-%02d,%s\n" % (day, b"" if day == 4 else b"57.%d" % day) for day in range(1, 29)
)


def test_a_table_whose_push_is_refused_comes_by_a_job_that_checks_it(small_plane, client):
    plane = small_plane.plane
    scheme, _, rest = small_plane.facts()["address"].partition("://")
    plane.call("POST", "/datasets/checked/versions", TABLE, headers={"Content-Type": "text/csv"})
    expected = [{"kind": "range", "column": "close", "minimum": 0}]
    plane.call("PUT", "/datasets/checked/expectations", {"expectations": expected})
    clone = client.clone(f"{scheme}://git:{small_plane.token}@{rest}/git/demo/checked.git", "checked")
    clone.run("commit", "--allow-empty", "-m", "another day")
    for day, state in ((b"2026-02-01,-9\n", "failed"), (b"2026-02-01,57\n", "succeeded")):
        clone.write("table.csv", TABLE + day)
        clone.run("commit", "-a", "--amend", "--no-edit")
        said = " ".join(clone.run("push", status=1).replace("remote:", "").split())
        assert "only up to 0 bytes are checked while you wait" in said
        assert "git lfs ls-files --long" in said
        digest = clone.run("lfs", "ls-files", "--long").split()[0]
        into = {"register": {"dataset": "checked"}, "inputs": {"table": {"digest": digest}}}
        job = plane.post("/jobs", {"kind": "profile", "spec": {}, **into})
        assert plane.wait(job["id"], seconds=120)["state"] == state
    clone.run("pull", "--rebase")
    version = plane.get("/datasets/checked/versions/2")
    assert (version["rows"], version["commit"]) == (29, clone.run("rev-parse", "HEAD").strip())


def test_a_version_that_a_job_made_comes_by_a_pull(small_plane, client):
    scheme, _, rest = small_plane.facts()["address"].partition("://")
    client.run("init", "wti")
    client.at = client.at / "wti"
    client.run("lfs", "track", "*.csv", "*.parquet")
    client.write("table.csv", TABLE)
    client.commit()
    client.run("remote", "add", "origin", f"{scheme}://git:{small_plane.token}@{rest}/git/demo/wti.git")
    client.run("push", "-u", "origin", "main")
    job = small_plane.plane.post("/datasets/wti/versions/1/jobs", {"kind": "clean", "spec": {"columns": ["close"]}})
    assert small_plane.plane.wait(job["id"], seconds=240)["state"] == "succeeded"
    version = small_plane.plane.get("/datasets/wti/versions/2")
    client.run("pull", "--ff-only")
    assert client.run("rev-parse", "HEAD").strip() == version["commit"]
    (file,) = version["files"]
    assert (client.at / file["path"]).read_bytes()[:4] == b"PAR1"
    said = client.run("log", "-1", "--format=%B")
    assert f"Job: {job['id']}" in said
    assert "deepseek.clean" in said
    assert small_plane.plane.get(f"/datasets/wti/versions/{version['commit']}")["number"] == 2
