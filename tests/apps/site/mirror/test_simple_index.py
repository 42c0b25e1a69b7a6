"""The pages and files that installers read."""

from __future__ import annotations

import base64
import hashlib

import pytest
from django.test import Client

from apps.site.mirror import services
from apps.site.mirror.models import PackageVersion
from apps.site.mirror.negotiation import HTML, HTML_V1, JSON_V1, choose_form
from tests.package_files import build_wheel, hash_file

PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"


@pytest.fixture
def wheel(publish, tmp_path):
    publish_path = build_wheel(tmp_path, "Acme.Tools", "1.0", requires_python="<4,>=3.9")
    publish(tmp_path)
    return publish_path


def test_the_forms_that_clients_ask_for():
    cells = {
        "": HTML,
        "*/*": HTML,
        PIP: JSON_V1,
        "application/vnd.pypi.simple.latest+json": JSON_V1,
        "application/vnd.pypi.simple.v1+html": HTML_V1,
        "text/html,application/xhtml+xml,*/*;q=0.8": HTML,
        "application/vnd.pypi.simple.v1+json;q=0.2, text/html": HTML,
        "application/vnd.pypi.simple.v1+json;q=0, text/html;q=0.1": HTML,
        "application/vnd.pypi.simple.v1+json;q=nan": HTML,
        "image/png": HTML,
    }
    assert {accept: choose_form(accept) for accept in cells} == cells


def test_the_root_lists_names(wheel, client):
    answer = client.get("/simple/", headers={"Accept": PIP})
    assert answer.json()["projects"] == [{"name": "acme-tools"}]
    assert (answer.headers["Content-Type"], answer.headers["Vary"].split(", ")[0]) == (JSON_V1, "Accept")
    assert '<a href="acme-tools/">' in client.get("/simple/").content.decode()
    etag = answer.headers["ETag"]
    assert client.get("/simple/", headers={"Accept": PIP, "If-None-Match": etag}).status_code == 304


def test_a_project_in_json(wheel, client):
    (file,) = client.get("/simple/acme-tools/", headers={"Accept": PIP}).json()["files"]
    metadata = client.get("/simple/acme-tools/acme_tools-1.0-py3-none-any.whl.metadata")
    assert file["hashes"] == {"sha256": hash_file(wheel)}
    assert file["core-metadata"] == {"sha256": hashlib.sha256(metadata.getvalue()).hexdigest()}
    assert (file["size"], file["requires-python"], file["yanked"]) == (wheel.stat().st_size, "<4,>=3.9", False)


def test_a_project_in_html(wheel, client):
    page = client.get("/simple/acme-tools/").content.decode()
    assert f"#sha256={hash_file(wheel)}" in page
    assert 'data-requires-python="&lt;4,&gt;=3.9"' in page
    assert 'name="pypi:repository-version" content="1.1"' in page


def test_a_change_is_seen_at_once(wheel, client, operator):
    version = PackageVersion.objects.get()
    before = client.get("/simple/acme-tools/", headers={"Accept": PIP})
    services.yank_version(actor=operator, version=version, reason="deletes <files>")
    after = client.get("/simple/acme-tools/", headers={"Accept": PIP})
    assert after.json()["files"][0]["yanked"] == "deletes <files>"
    assert before.headers["ETag"] != after.headers["ETag"]
    assert 'data-yanked="deletes &lt;files&gt;"' in client.get("/simple/acme-tools/").content.decode()
    services.unyank_version(actor=operator, version=version)
    assert client.get("/simple/acme-tools/", headers={"Accept": PIP}).json()["files"][0]["yanked"] is False


def test_files_come_whole_and_in_ranges(wheel, client):
    place = "/simple/acme-tools/acme_tools-1.0-py3-none-any.whl"
    whole = client.get(place)
    assert whole.getvalue() == wheel.read_bytes()
    assert "immutable" in whole.headers["Cache-Control"]
    assert client.head(place).headers["Content-Length"] == str(wheel.stat().st_size)
    part = client.get(place, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.getvalue()) == (206, wheel.read_bytes()[2:6])


def test_other_spellings_lead_to_the_one_address(wheel, client):
    cells = {
        "/simple": "/simple/",
        "/simple/acme-tools": "/simple/acme-tools/",
        "/simple/Acme_Tools": "/simple/acme-tools/",
        "/simple/acme..tools/": "/simple/acme-tools/",
    }
    assert {path: client.get(path).headers.get("Location") for path in cells} == cells


def test_what_is_not_there(wheel, client):
    places = [
        "/simple/absent/",
        "/simple/-/",
        "/simple/acme-tools/x.whl",
        "/simple/absent/acme_tools-1.0-py3-none-any.whl",
    ]
    assert {place: client.get(place).status_code for place in places} == dict.fromkeys(places, 404)
    assert client.post("/simple/").status_code == 405


def test_who_may_read(wheel, viewer, stranger, make_token, settings):
    place = "/simple/acme-tools/"

    def read(address, secret=""):
        basic = base64.b64encode(f"__token__:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"} if secret else {}
        return Client(REMOTE_ADDR=address).get(place, headers=headers)

    answers = {
        "loopback": read("127.0.0.1").status_code,
        "elsewhere": read("192.0.2.7").status_code,
        "a wrong token": read("192.0.2.7", "dso_wrong").status_code,
        "a viewer": read("192.0.2.7", make_token(viewer)[0]).status_code,
        "of another project": read("192.0.2.7", make_token(stranger)[0]).status_code,
        "without the scope": read("192.0.2.7", make_token(viewer, scopes=["metrics:read"])[0]).status_code,
    }
    settings.ENV = settings.ENV.model_copy(update={"index_allow": ["192.0.2.0/24"]})
    answers |= {"a network": read("192.0.2.7").status_code, "no longer loopback": read("127.0.0.1").status_code}
    assert answers == {
        "loopback": 200,
        "elsewhere": 401,
        "a wrong token": 401,
        "a viewer": 200,
        "of another project": 200,
        "without the scope": 403,
        "a network": 200,
        "no longer loopback": 401,
    }
    assert read("198.51.100.1").headers["WWW-Authenticate"].startswith("Basic ")
