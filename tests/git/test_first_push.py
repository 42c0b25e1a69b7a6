"""A repository that `git init` made, pushed to a dataset without versions; tags beside a branch; uploads to nowhere."""

from __future__ import annotations

import secrets

import pytest

TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n"


def versions(plane, name: str) -> int:
    return plane.plane.get(f"/datasets/{name}")["versions"]


@pytest.fixture
def begun(client, url):
    """begun("name") -> a repository of the client's own with one commit on master, and the dataset as its remote."""

    def of(name: str):
        client.run("init", "-b", "master", name)
        client.at = client.at / name
        client.run("lfs", "install", "--local")
        client.run("lfs", "track", "*.bin")
        client.write("table.csv", TABLE)
        client.write("weights.bin", secrets.token_bytes(10_000))
        client.commit("first")
        client.run("remote", "add", "origin", url(name))
        return client

    return of


@pytest.mark.parametrize("is_there", [False, True], ids=["no dataset yet", "a dataset without versions"])
def test_master_is_taken_for_main(plane, begun, client, url, is_there):
    name = f"master-{'there' if is_there else 'new'}"
    if is_there:
        plane.plane.post("/datasets", {"name": name})
        client.clone(url(name), "before")  # its first commit, which holds no version
    here = begun(name)
    said = here.run("push", "-u", "origin", "master")
    assert f"remote: {name} v1: 2 files" in said
    assert "taken for main" in said
    rename = next(line for line in said.splitlines() if "Rename it:" in line).partition("Rename it: ")[2]
    there = {line.split("\t")[1]: line.split("\t")[0] for line in here.run("ls-remote", "origin").splitlines()}
    assert there == dict.fromkeys(("HEAD", "refs/heads/main"), here.run("rev-parse", "HEAD").strip())
    here.write("table.csv", TABLE * 2)
    here.commit("second")
    refused = here.run("push", "origin", "master", status=1)
    assert "master is not accepted" in refused
    assert "git branch -m master main" in refused
    assert versions(plane, name) == 1
    for command in rename.strip().split(" && "):
        here.run(*command.split()[1:])
    here.run("push")
    assert versions(plane, name) == 2
    client.at = client.home
    again = client.clone(url(name), "after")
    assert (again.at / "table.csv").read_bytes() == TABLE * 2


def test_a_tag_does_not_take_main_with_it(plane, client, url, uploaded):
    uploaded("tagged", TABLE)
    here = client.clone(url("tagged"))
    here.write("table.csv", TABLE * 3)
    here.commit()
    here.run("tag", "-a", "v2", "-m", "the second")
    said = here.run("push", "--atomic", "--follow-tags", status=1)  # all or nothing
    assert "Versions are tagged in the plane" in said
    assert versions(plane, "tagged") == 1
    said = here.run("push", "--follow-tags", status=1)
    assert "remote: tagged v2: 1 file" in said
    assert "Not accepted: the tags of this push (v2)" in said
    assert "main -> main\n" in said
    assert "[remote rejected] v2 -> v2" in said
    assert versions(plane, "tagged") == 2
    assert "refs/tags" not in here.run("ls-remote", "origin")
    here.run("push")
    assert (client.clone(url("tagged"), "again").at / "table.csv").read_bytes() == TABLE * 3


def test_an_upload_to_a_dataset_that_is_not_there_is_refused_before_its_bytes(plane, begun, client):
    here = begun("misspelt")
    said = here.run("lfs", "push", "--all", "origin", "master", status=1)
    assert "This project has no dataset 'misspelt', so nothing was uploaded" in said
    assert "git push makes a dataset, git lfs push does not" in said
    assert "misspelt" not in {one["name"] for one in plane.plane.get("/datasets")["items"]}
    here.run("push", "origin", "HEAD:main")  # which tells the plane first, so its upload goes through
    assert versions(plane, "misspelt") == 1
