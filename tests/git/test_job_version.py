"""The chain as a person sees it: push a table, clean it by a job, and pull what the job made."""

from __future__ import annotations

import pytest

from tests.git.conftest import begun

TABLE = b"day,close\n" + b"".join(
    b"2026-01-%02d,%s\n" % (day, b"" if day == 4 else b"57.%d" % day) for day in range(1, 29)
)


@pytest.fixture
def whole(tmp_path_factory, template, services):
    """A plane with a worker and a dispatcher."""
    home = tmp_path_factory.mktemp("whole") / "home"
    running = begun(home, template, services, parts="web,worker,dispatcher")
    yield running
    running.kill_everything()


def test_a_version_that_a_job_made_comes_by_a_pull(whole, client):
    scheme, _, rest = whole.facts()["address"].partition("://")
    client.run("init", "wti")
    client.at = client.at / "wti"
    client.run("lfs", "track", "*.csv", "*.parquet")
    client.write("table.csv", TABLE)
    client.commit()
    client.run("remote", "add", "origin", f"{scheme}://git:{whole.token}@{rest}/git/demo/wti.git")
    client.run("push", "-u", "origin", "main")
    job = whole.plane.post("/datasets/wti/versions/1/jobs", {"kind": "clean", "spec": {"columns": ["close"]}})
    assert whole.plane.wait(job["id"], seconds=240)["state"] == "succeeded"
    version = whole.plane.get("/datasets/wti/versions/2")
    client.run("pull", "--ff-only")
    assert client.run("rev-parse", "HEAD").strip() == version["commit"]
    (file,) = version["files"]
    assert (client.at / file["path"]).read_bytes()[:4] == b"PAR1"
    said = client.run("log", "-1", "--format=%B")
    assert f"Job: {job['id']}" in said
    assert "deepseek.clean" in said
    assert whole.plane.get(f"/datasets/wti/versions/{version['commit']}")["number"] == 2
