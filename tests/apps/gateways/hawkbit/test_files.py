"""The file of a release, and the one that the site attaches in its place."""

from __future__ import annotations

import hashlib

import pytest

from apps.gateways.hawkbit.models import FileHashes, UpdateFile
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord

SWU = b"an archive of the site" * 100


@pytest.fixture
def swu(held):
    return held(SWU, name="model-1.swu")


@pytest.fixture
def attach(api, approver, engineer, project, release):
    """attach(digest, name, by=approver) -> the response."""

    def put(digest, name="model-1.swu", by=None, of=None, **more):
        url = f"/api/v1/projects/{project.slug}/releases/{of or release.pk}/update-file"
        return api(by or approver).put(url, {"digest": digest, "name": name} | more, format="json")

    return put


def find_artifact(client):
    return client.get(client.links["deploymentBase"])["deployment"]["chunks"][0]["artifacts"][0]


def read_body(response) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_the_variants_own_file(pump, action, release):
    artifact = find_artifact(pump)
    link = artifact["_links"]["download-http"]["href"]
    response = pump.send("GET", link)
    data = read_body(response)
    assert response.status_code == 200
    assert hashlib.sha256(data).hexdigest() == release.variant.artifact_id
    for name in ("sha1", "md5"):
        assert artifact["hashes"][name] == hashlib.new(name, data).hexdigest()
    sums = pump.send("GET", artifact["_links"]["md5sum-http"]["href"])
    assert sums.content.decode() == f"{artifact['hashes']['md5']}  {release.variant.file}"
    assert pump.get(f"/softwaremodules/{release.pk}/artifacts") == [artifact]
    action.refresh_from_db()
    assert action.step == "downloading"
    assert FileHashes.objects.count() == 1


def test_ranges_and_heads(pump, action, release):
    link = find_artifact(pump)["_links"]["download-http"]["href"]
    data = read_body(pump.send("GET", link))
    size = len(data)
    head = pump.send("HEAD", link)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(size), b"")
    part = pump.send("GET", link, HTTP_RANGE=f"bytes={size - 2}-")
    assert (part.status_code, read_body(part)) == (206, data[-2:])
    beyond = pump.send("GET", link, HTTP_RANGE=f"bytes={size}-")
    assert (beyond.status_code, beyond.content) == (416, b"")
    assert beyond.headers["Content-Range"] == f"bytes */{size}"


def test_only_what_the_device_is_to_have_or_has(pump, action, release, register, issue, variant, assign):
    link = find_artifact(pump)["_links"]["download-http"]["href"]
    stranger = register("pump-8")
    path = f"/softwaremodules/{release.pk}/artifacts"
    assert stranger.status("GET", path) == 404
    assert stranger.status("GET", f"{path}/{release.variant.file}") == 404
    assert pump.status("GET", f"{path}/model.json") == 404
    assert pump.status("GET", f"/softwaremodules/{release.pk + 9}/artifacts/{release.variant.file}") == 404
    pump.report(action, "closed", "success")
    assert pump.status("GET", link) == 200, "of what it has installed"
    second = issue(variant)
    third = assign(pump, second)
    assert pump.status("GET", f"/softwaremodules/{second.pk}/artifacts/{variant.file}") == 200
    pump.report(third, "closed", "success")
    assert pump.status("GET", link) == 404, "it has another one now"


def test_damaged_bytes_are_not_sent(pump, action, release):
    link = find_artifact(pump)["_links"]["download-http"]["href"]
    path = get_store().path_of(release.variant.artifact_id)
    path.chmod(0o600)
    path.write_bytes(b"x" * release.variant.artifact.size)
    assert pump.status("GET", link) == 500


def test_an_attached_file_takes_its_place(pump, action, release, swu, attach):
    before = pump.links["deploymentBase"]
    answer = attach(swu.pk)
    assert answer.status_code == 200, answer.content
    assert answer.json()["size"] == len(SWU)
    assert pump.links["deploymentBase"] != before
    artifact = find_artifact(pump)
    assert artifact["filename"] == "model-1.swu"
    assert read_body(pump.send("GET", artifact["_links"]["download-http"]["href"])) == SWU
    assert pump.status("GET", f"/softwaremodules/{release.pk}/artifacts/{release.variant.file}") == 404
    record = AuditRecord.objects.get(action="release.attach_update_file")
    assert swu.pk in str(record.body)


def test_attached_once(release, swu, attach, held, api, approver, project):
    url = f"/api/v1/projects/{project.slug}/releases/{release.pk}/update-file"
    assert api(approver).get(url).status_code == 404
    assert attach(swu.pk).status_code == 200
    assert attach(swu.pk).status_code == 200
    other = held(b"another", name="b.swu")
    answer = attach(other.pk, "b.swu")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "update_file_attached")
    assert api(approver).get(url).json()["name"] == "model-1.swu"
    assert AuditRecord.objects.filter(action="release.attach_update_file").count() == 1


def test_who_may_attach(swu, attach, engineer, viewer, stranger, approver):
    assert attach(swu.pk, by=engineer).status_code == 403
    assert attach(swu.pk, by=viewer).status_code == 403
    assert attach(swu.pk, by=stranger).status_code == 404
    Holding.objects.filter(artifact=swu).update(created_by=approver.username)
    answer = attach(swu.pk)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "own_update_file")
    assert not UpdateFile.objects.exists()


def test_bad_bodies(swu, attach):
    cells = [
        (attach("0" * 64), 404),
        (attach("xyz"), 422),
        (attach(swu.pk, "a/b.swu"), 422),
        (attach(swu.pk, "x" * 101), 422),
        (attach(swu.pk, ".."), 422),
        (attach(swu.pk, of=10**6), 404),
        (attach(swu.pk, size=3), 422),
    ]
    assert [(answer.status_code, code) for answer, code in cells] == [(code, code) for _, code in cells]
