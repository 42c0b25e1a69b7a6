"""`deepseek login` keeps a token that the plane knows, and only its owner may read it."""

from __future__ import annotations

import io
import json

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log_in(deepseek, live_server, tmp_path, monkeypatch):
    """log_in(token, url=of the plane) -> the end of `deepseek login`, the token on standard input."""

    def run(token, url=live_server.url):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
        return deepseek("login", url, env={"XDG_CONFIG_HOME": str(tmp_path / "config")})

    return run


@pytest.fixture
def credentials(tmp_path):
    return tmp_path / "config/deepseek/credentials.json"


def test_token_is_kept_with_its_project_for_its_owner_alone(log_in, make_token, engineer, credentials, live_server):
    secret, _ = make_token(engineer)
    run = log_in(secret)
    assert run.returncode == 0
    assert "as engineer, project demo" in run.stderr
    assert secret not in run.stdout + run.stderr
    kept = json.loads(credentials.read_text())
    assert kept == {"default": live_server.url, "planes": {live_server.url: {"token": secret, "project": "demo"}}}
    assert (credentials.stat().st_mode & 0o777, credentials.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_later_commands_use_it(log_in, make_token, engineer, deepseek, tmp_path):
    log_in(make_token(engineer)[0])
    assert deepseek("jobs", env={"XDG_CONFIG_HOME": str(tmp_path / "config")}).returncode == 0


def test_second_login_replaces_the_token(log_in, make_token, engineer, stranger, credentials, live_server):
    log_in(make_token(engineer)[0])
    second = make_token(stranger)[0]
    log_in(second)
    assert json.loads(credentials.read_text())["planes"][live_server.url] == {"token": second, "project": "other"}


def test_wrong_token_is_not_kept(log_in, credentials, say_end):
    say_end(log_in("dso_wrong"), 2, "There is no such token", "field: token", "hint: Log in again")
    assert not credentials.exists()


@pytest.mark.parametrize("token", ["", "two words", "x" * 600, "密钥"])
def test_what_is_no_token_is_refused_without_repeating_it(log_in, say_end, token):
    run = log_in(token)
    say_end(run, 2, "field: token")
    assert not token or token not in run.stderr


def test_token_is_no_argument(deepseek):
    assert deepseek("login", "http://127.0.0.1", "--token", "dso_x").returncode == 2


def test_address_of_no_plane_is_refused(log_in, live_server, say_end):
    say_end(log_in("dso_x", f"{live_server.url}/somewhere"), 2, "does not answer as a plane does", "field: URL")


def test_logout_forgets_it(log_in, make_token, engineer, deepseek, credentials, tmp_path):
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    log_in(make_token(engineer)[0])
    assert deepseek("logout", env=env).returncode == 0
    assert json.loads(credentials.read_text()) == {"default": "", "planes": {}}
    assert deepseek("logout", env=env).returncode == 2
