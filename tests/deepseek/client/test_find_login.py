"""Which plane and which token a command uses, and what it says where it has none."""

from __future__ import annotations

import json

import pytest

from deepseek.client import ClientError
from deepseek.client.credentials import Login, find_login, get_credentials_path, normalise_url, store_login

A, B = "https://a.example", "https://b.example:8443"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_arguments_then_environment_then_file(monkeypatch):
    store_login(Login(A, "of-the-file", "demo", "/ca.pem"))
    assert find_login() == Login(A, "of-the-file", "demo", "/ca.pem")
    monkeypatch.setenv("DEEPSEEK_URL", B)
    monkeypatch.setenv("DEEPSEEK_TOKEN", "of-the-environment")
    monkeypatch.setenv("DEEPSEEK_CA", "/other.pem")
    assert find_login() == Login(B, "of-the-environment", "", "/other.pem")
    assert find_login(A, "given") == Login(A, "given", "", "/other.pem")


def test_token_of_the_file_goes_only_to_its_own_plane():
    store_login(Login(A, "secret", "demo"))
    with pytest.raises(ClientError, match=r"no token for https://b\.example:8443") as caught:
        find_login(B)
    assert caught.value.code == "no_token"


@pytest.mark.parametrize("name", ["DEEPSEEK_TOKEN", None])
def test_no_address_is_an_error(monkeypatch, name):
    if name:
        monkeypatch.setenv(name, "secret")
    with pytest.raises(ClientError) as caught:
        find_login()
    assert (caught.value.code, caught.value.field) == ("no_plane", "DEEPSEEK_URL")


def test_file_that_others_can_read_is_not_used():
    store_login(Login(A, "secret", "demo")).chmod(0o640)
    with pytest.raises(ClientError, match="others may read") as caught:
        find_login()
    assert "chmod 600" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"planes": 3}'])
def test_broken_file_is_an_error(text):
    path = get_credentials_path()
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ClientError, match="are not used"):
        find_login()


def test_second_plane_stays_beside_the_first():
    store_login(Login(A, "one", "demo"))
    store_login(Login(B, "two", "demo"))
    assert json.loads(get_credentials_path().read_text())["default"] == B
    assert (find_login(A).token, find_login().token) == ("one", "two")


def test_login_does_not_show_its_token():
    assert "secret" not in repr(Login(A, "secret"))


@pytest.mark.parametrize(
    "text", ["", "plane", "ftp://plane", "http://", "http://u:pw@plane", "http://plane?x=1", "http://[", "http://p:x"]
)
def test_bad_address_is_refused(text):
    with pytest.raises(ClientError) as caught:
        normalise_url(text)
    assert caught.value.code == "bad_url"
    assert "pw" not in str(caught.value.as_dict())


def test_address_is_normalised():
    assert normalise_url(" HTTPS://Plane.Example:8443/base/ ") == "https://plane.example:8443/base"
