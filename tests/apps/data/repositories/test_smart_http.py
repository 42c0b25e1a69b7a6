"""Who may ask Git for what, and what the refusals look like."""

from __future__ import annotations

import shutil

import pytest

from apps.data.repositories import folders, git

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]
FETCH, PUSH = "/info/refs?service=git-upload-pack", "/info/refs?service=git-receive-pack"


def test_without_a_token_the_client_is_asked_for_one(asker, dataset):
    for where in (FETCH, PUSH, "/nothing", "/info/lfs/nothing"):
        answer = asker().get(where)
        assert answer.status_code == 401
        scheme = answer.headers.get("WWW-Authenticate") or answer.headers["LFS-Authenticate"]
        assert scheme.startswith('Basic realm="')


def test_a_session_counts_for_nothing(web, engineer, dataset):
    assert web(engineer).get(f"/git/demo/wti.git{FETCH}").status_code == 401


def test_references_are_told(asker, viewer, dataset, added):
    added({"table.csv": b"a\n1\n"})
    answer = asker(viewer).get(FETCH)
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert answer.headers["Cache-Control"].startswith("no-cache")
    assert b"refs/heads/main" in answer.content
    assert b"version 2" in asker(viewer).get(FETCH, HTTP_GIT_PROTOCOL="version=2").content


@pytest.mark.parametrize("basic", [True, False])
def test_roles(asker, engineer, viewer, approver, stranger, dataset, basic):
    found = {
        who.username: (asker(who, basic=basic).get(FETCH).status_code, asker(who).get(PUSH).status_code)
        for who in (engineer, viewer, approver, stranger)
    }
    assert found == {"engineer": (200, 200), "viewer": (200, 403), "approver": (200, 403), "stranger": (404, 404)}


def test_a_token_as_user_name_does_as_well(client, make_token, viewer, dataset):
    import base64

    word = base64.b64encode(f"{make_token(viewer)[0]}:".encode()).decode()
    assert client.get(f"/git/demo/wti.git{FETCH}", HTTP_AUTHORIZATION=f"Basic {word}").status_code == 200


def test_two_values_in_one_header_are_one(client, make_token, viewer, dataset):
    secret = make_token(viewer)[0]
    doubled = f"Bearer {secret},Bearer {secret}"
    assert client.get(f"/git/demo/wti.git{FETCH}", HTTP_AUTHORIZATION=doubled).status_code == 200


def test_the_old_protocol_is_not_spoken(asker, viewer, dataset):
    assert asker(viewer).get("/info/refs").status_code == 403
    assert asker(viewer).get("/info/refs?service=git-upload-archive").status_code == 403
    for path in ("/HEAD", "/objects/info/packs", "/config", "", "/", "/../wti.git/HEAD"):
        assert asker(viewer).get(path).status_code == 404


def test_methods_and_types(asker, engineer, dataset):
    there = asker(engineer)
    assert there.get("/git-upload-pack").status_code == 405
    assert there.get("/info/lfs/objects/batch").status_code == 405
    for service in ("git-upload-pack", "git-receive-pack"):
        answer = there.client.post(f"{there.at}/{service}", b"0000", content_type="text/plain", **there.headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")


def test_a_push_may_make_a_dataset_but_a_fetch_not(asker, engineer, project):
    assert asker(engineer).get(PUSH).status_code == 200
    assert asker(engineer).get(FETCH).status_code == 404
    there = asker(engineer)
    there.at = "/git/demo/Not_A_Name.git"
    assert there.get(PUSH).status_code == 422
    assert not list(folders.get_home().glob("passing-*"))


def test_unknown_addresses_need_no_slash_and_no_page(client, make_token, viewer):
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {make_token(viewer)[0]}"}
    for path in ("/git", "/git/", "/git/demo", "/git/demo/x/y/z", "/git/../etc/passwd"):
        for ask in (client.get, client.post):
            answer = ask(path, **bearer)
            assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_a_host_without_git_says_so(asker, viewer, dataset, added, monkeypatch):
    added({"table.csv": b"a\n1\n"})
    monkeypatch.setattr(git, "PATH", "/nowhere")
    answer = asker(viewer).get(FETCH)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"Git is not installed" in answer.content


def test_too_many_at_once_wait_and_are_told(asker, viewer, dataset, limits, monkeypatch):
    limits(git_children=1)
    monkeypatch.setattr(git, "MAX_TURN_WAIT_SECONDS", 0.01)
    with git.hold_turn():
        assert asker(viewer).get(FETCH).status_code == 503
    assert asker(viewer).get(FETCH).status_code == 200


def test_a_push_that_is_too_large_is_not_read(asker, engineer, dataset, limits):
    limits(git_push_limit_bytes=1000)
    there = asker(engineer)
    sent = {"content_type": "application/x-git-receive-pack-request", **there.headers}
    answer = there.client.post(f"{there.at}/git-receive-pack", b"x" * 1001, **sent)
    assert answer.status_code == 413
    assert b"GIT_PUSH_LIMIT_BYTES" in answer.content


def test_the_child_knows_nothing_of_the_plane(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "a secret")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    env = git.build_environment({"PATH_INFO": "/1.git/info/refs"})
    assert "SECRET_KEY" not in env
    assert "GIT_DIR" not in env
    assert env["PATH"] == git.PATH
