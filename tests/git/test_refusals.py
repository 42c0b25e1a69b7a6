"""What the plane does not take in: the client says why, no row is made, and a second try that is right goes through."""

from __future__ import annotations

import os

import pytest

TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n2026-01-04,58.1\n"


def versions(plane, name: str) -> int:
    return plane.plane.get(f"/datasets/{name}")["versions"]


@pytest.fixture
def clone(client, url, uploaded):
    """clone("name") -> a clone of a dataset with one version."""

    def of(name: str, who: str = "engineer"):
        uploaded(name, TABLE)
        return client.clone(url(name, who), name)

    return of


def test_history_is_not_rewritten_by_force(plane, clone, uploaded):
    here = clone("forced")
    here.write("table.csv", TABLE * 2)
    here.commit()
    here.run("push")
    here.run("reset", "--hard", "HEAD~1")
    here.write("other.csv", TABLE)
    here.commit()
    said = here.run("push", "--force", status=1)
    assert "remote: This push is not on top of" in said
    assert "never rewritten" in said
    assert versions(plane, "forced") == 2


def test_a_cited_version_is_named_by_the_refusal(plane, clone):
    here = clone("cited")
    plane.plane.post("/datasets/cited/versions/1/jobs", {"kind": "clean", "spec": {"columns": ["close"]}})
    here.run("checkout", "--orphan", "new")
    here.write("table.csv", TABLE * 3)
    here.commit()
    said = here.run("push", "--force", "origin", "HEAD:main", status=1)
    assert "would drop cited v1 from main, which job" in said
    assert here.run("ls-remote", "origin", "main").split()[0] == here.run("rev-parse", "origin/main").strip()


def test_neither_deletion_nor_another_branch_nor_a_tag(plane, clone):
    here = clone("branches")
    assert "main cannot be deleted" in here.run("push", "origin", ":main", status=1)
    assert "has one branch, main" in here.run("push", "origin", "HEAD:refs/heads/feature", status=1)
    here.run("tag", "v9")
    assert "Versions are tagged in the plane" in here.run("push", "origin", "v9", status=1)


def test_pointers_without_their_bytes(plane, clone):
    here = clone("pointers")
    here.write("table.csv", TABLE + b"2026-01-05,1.25\n")  # as no other test has it: the project would hold it
    here.commit()
    said = here.run("push", "--no-verify", status=1)  # without the hook of git-lfs that sends them
    assert "The bytes of table.csv are not here" in said
    assert "git lfs push --all origin main" in said
    assert versions(plane, "pointers") == 1
    here.run("lfs", "push", "--all", "origin", "main")
    here.run("push", "--no-verify")
    assert versions(plane, "pointers") == 2


def test_a_link_and_a_submodule(plane, clone):
    here = clone("links")
    os.symlink("table.csv", here.at / "link.csv")
    here.commit()
    assert "link.csv is a symbolic link" in here.run("push", status=1)
    here.run("reset", "--hard", "HEAD~1")
    here.run("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    here.run("commit", "-m", "a submodule")
    assert "sub is a submodule" in here.run("push", status=1)
    assert versions(plane, "links") == 1


def test_a_table_that_cannot_be_read_is_taken_with_a_warning(plane, clone):
    here = clone("ragged")
    here.write("table.csv", b"a,b\n1,2\n3\n")
    here.commit()
    assert "Warning: table.csv: Row 3 has 1 cell" in here.run("push")
    assert plane.plane.get("/datasets/ragged/versions/2")["rows"] is None


def test_the_dialect_is_seen(plane, clone):
    here = clone("dialect")
    here.write("table.csv", "日期;收盘\n2026-01-02;57,3\n".encode("gb18030"))
    here.commit()
    here.run("push")
    found = plane.plane.get("/datasets/dialect/versions/2")
    assert (found["rows"], found["media_type"]) == (1, "text/csv; charset=gb18030; delimiter=%3B")


def test_somebody_was_faster(plane, clone, uploaded):
    here = clone("faster")
    uploaded("faster", TABLE * 2)
    here.write("notes.txt", b"mine\n")
    here.commit()
    assert "[rejected]" in here.run("push", status=1)
    here.run("pull", "--rebase")
    here.run("push")
    assert versions(plane, "faster") == 3


def test_roles_and_projects(client, clone, url):
    here = clone("roles")
    here.run("remote", "set-url", "origin", url("roles", "viewer"))
    here.run("fetch")
    here.write("x.txt", b"x\n")
    here.commit()
    assert "403" in here.run("push", status=1)
    assert "not found" in client.run("ls-remote", url("roles", project="elsewhere"), status=1)
    assert "not found" in client.run("ls-remote", url("absent"), status=1)
    assert "Authentication failed" in client.run("ls-remote", url("roles", "dso_wrong"), status=1)


def test_the_token_comes_from_a_credential_helper_or_a_header(client, clone, url, tokens):
    clone("helped")
    bare = url("helped").replace(f"git:{tokens('engineer')}@", "")
    helper = f"!f() {{ echo username=x; echo password={tokens('engineer')}; }}; f"
    client.run("-c", f"credential.helper={helper}", "clone", bare, "by-helper")
    assert (client.at / "by-helper" / "table.csv").read_bytes() == TABLE
    client.run(
        "config",
        "--global",
        f"http.{bare.partition('/git/')[0]}/.extraHeader",
        f"Authorization: Bearer {tokens('engineer')}",
    )
    here = client.clone(bare, "by-header")
    assert (here.at / "table.csv").read_bytes() == TABLE
    here.write("table.csv", TABLE * 4)
    here.commit()
    here.run("push")  # git-lfs sends the header beside its own


def test_locks_keep_others_out(plane, client, clone, url, tokens):
    here = clone("locked")
    assert "Locked table.csv" in here.run("lfs", "lock", "table.csv")
    assert "table.csv" in here.run("lfs", "locks")
    other = tokens("colleague")
    there = client.clone(url("locked", other), "there")
    there.write("table.csv", TABLE * 2)
    there.commit()
    there.run("lfs", "push", "--all", "origin", "main", status=None)
    said = there.run("-c", "lfs.locksverify=true", "push", status=1)
    assert "table.csv - engineer" in said or "locked by engineer" in said
    assert "may not do" in there.run("lfs", "unlock", "--force", "table.csv", status=1)
    here.run("lfs", "unlock", "table.csv")
    there.run("push")
    assert versions(plane, "locked") == 2


def test_a_hook_that_cannot_run_takes_nothing_in(plane, clone):
    here = clone("unhooked")
    hook = plane.home / "repositories" / "hooks" / "pre-receive"
    hook.chmod(0o600)  # as on a file system that lets no program run: Git passes over it
    here.write("table.csv", TABLE * 5)
    here.commit()
    assert "503" in here.run("push", status=1)
    hook.chmod(0o700)
    assert versions(plane, "unhooked") == 1
    here.run("push")
    assert versions(plane, "unhooked") == 2


def test_a_configuration_that_sends_the_uploads_of_others_elsewhere(plane, clone):
    here = clone("elsewhere")
    here.write(".lfsconfig", b"[lfs]\n\turl = https://evil.example/lfs\n")
    here.commit()
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "lfs.url"}
    address = here.run("remote", "get-url", "origin").strip() + "/info/lfs"
    said = here.run("push", status=1, **own, GIT_CONFIG_VALUE_0=address)
    assert ".lfsconfig sets lfs.url to https://evil.example/lfs" in said
    assert "git config -f .lfsconfig --unset lfs.url" in said
    assert versions(plane, "elsewhere") == 1


def test_a_push_that_unpacks_to_more_than_the_limit(small_plane, client):
    scheme, _, rest = small_plane.facts()["address"].partition("://")
    client.run("init", "bomb")
    client.at = client.at / "bomb"
    client.write("zeros.bin", bytes(3 << 20))
    client.commit()
    said = client.run("push", f"{scheme}://git:{small_plane.token}@{rest}/git/demo/bomb.git", "main", status=1)
    assert "when they are unpacked" in said
    assert "GIT_UNPACKED_LIMIT_BYTES" in said
