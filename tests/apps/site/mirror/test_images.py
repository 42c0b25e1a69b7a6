"""Container images: imported with every hash checked, pulled, exported."""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from apps.core.errors import Conflict, PlaneError, Refused
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import SCRUB_TASK
from apps.site.mirror import services
from apps.site.mirror.images.export import export_image
from apps.site.mirror.models import ContainerImage, ImageTag
from tests.image_files import build_docker_archive, build_oci_archive, digest

pytestmark = pytest.mark.django_db


@pytest.fixture
def take(operator):
    return lambda path, **more: services.import_image(actor=operator, path=path, architecture="amd64", **more)


def test_both_forms_come_in_and_are_kept(take, operator, tmp_path):
    (old,) = take(build_docker_archive(tmp_path / "old.tar"))
    (new,) = take(build_oci_archive(tmp_path / "new.tar"))
    assert (str(old), str(new)) == ("demo/app:v1", "demo/app:v2")
    Artifact.objects.update(created_at="2020-01-01T00:00Z", touched_at=None)
    before = Artifact.objects.count()
    collect_garbage(actor=operator)
    assert Artifact.objects.count() == before == 5  # two configs, two plain layers, one packed


def test_the_same_image_always_has_the_same_digest(take, tmp_path):
    (first,) = take(build_docker_archive(tmp_path / "a.tar"))
    (second,) = take(build_docker_archive(tmp_path / "b.tar", names=["registry.example:5000/other/app:v9"]))
    assert str(second) == "other/app:v9"
    assert (first.image, ContainerImage.objects.count()) == (second.image, 1)


def test_the_chunks_of_a_large_layer_are_left_to_a_worker(
    take, tmp_path, monkeypatch, django_capture_on_commit_callbacks
):
    rung = []
    app = SimpleNamespace(send_task=lambda name, args, **_: rung.append((name, args)))
    monkeypatch.setattr("apps.platform.artifacts.verification.current_app", app)
    with django_capture_on_commit_callbacks(execute=True):
        take(build_docker_archive(tmp_path / "a.tar", files={"app/weights": bytes(2 << 20)}))
    large = Artifact.objects.get(size__gt=1 << 20)
    assert rung == [(SCRUB_TASK, [large.digest])]
    assert (large.chunked_at, large.chunks_wanted_at is None) == (None, False)


def test_a_packed_archive_is_unpacked(take, tmp_path):
    path = build_docker_archive(tmp_path / "a.tar")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(take(tmp_path / "a.tar.gz")) == 1


def test_a_tag_moves_only_when_told(take, tmp_path):
    (first,) = take(build_docker_archive(tmp_path / "a.tar"))
    other = build_docker_archive(tmp_path / "b.tar", files={"app/run.sh": b"other\n"})
    with pytest.raises(Conflict) as refusal:
        take(other)
    assert (refusal.value.code, ContainerImage.objects.count()) == ("image_tag_exists", 1)
    (moved,) = take(other, move_tag=True)
    assert moved.image != first.image


def test_an_export_comes_in_again(take, tmp_path):
    (tag,) = take(build_oci_archive(tmp_path / "a.tar"))
    (tmp_path / "out.tar").write_bytes(b"".join(export_image(tag.image)))
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(archive.getnames())
    (again,) = take(tmp_path / "out.tar", name="demo/again:v1")
    assert again.image == tag.image


def make_special(kind, name="etc/null", linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def test_archives_that_are_refused(take, tmp_path, monkeypatch):
    """The code of each; nothing of them stays."""

    def tamper(members):
        members["b/layer.tar"] = members["b/layer.tar"].replace(b"#!/bin/sh", b"#!/bin/xx")

    def rename_config(members):
        (name,) = [name for name in members if name.endswith(".json") and name != "manifest.json"]
        text = members.pop(name)
        members["0" * 64 + ".json"] = text
        members["manifest.json"] = members["manifest.json"].replace(name.encode(), b"0" * 64 + b".json")

    def tamper_packed(members):
        (name,) = [name for name, text in members.items() if text[:2] == b"\x1f\x8b"]
        members[name] = gzip.compress(b"other", mtime=0)

    def lose_layer(members):
        del members["a/layer.tar"]

    zeros = bytes(70 << 20)
    bomb = gzip.compress(zeros, 9, mtime=0)
    docker, oci = build_docker_archive, build_oci_archive
    cells = {
        "tampered layer": (docker, {"spoil": tamper}, "image_tampered"),
        "config under another name": (docker, {"spoil": rename_config}, "image_tampered"),
        "tampered packed layer": (oci, {"spoil": tamper_packed}, "image_tampered"),
        "a layer missing": (docker, {"spoil": lose_layer}, "image_invalid"),
        "leads out": (docker, {"extra": [make_special(tarfile.REGTYPE, "../../etc/passwd")]}, "unsafe_archive"),
        "absolute": (docker, {"extra": [make_special(tarfile.REGTYPE, "/etc/passwd")]}, "unsafe_archive"),
        "a device": (docker, {"extra": [make_special(tarfile.CHRTYPE)]}, "unsafe_archive"),
        "a pipe": (docker, {"extra": [make_special(tarfile.FIFOTYPE)]}, "unsafe_archive"),
        "a member twice": (docker, {"extra": [make_special(tarfile.REGTYPE, "manifest.json")]}, "unsafe_archive"),
        "a bomb": (oci, {"layer": zeros}, "archive_bomb"),
        "of another machine": (docker, {"architecture": "arm64"}, "image_invalid"),
        "a wrong name": (docker, {"names": ["Demo/App:v1"]}, "image_name_invalid"),
        "no name": (docker, {"names": []}, "image_invalid"),
    }
    wrong = {}
    for number, (name, (build, more, code)) in enumerate(cells.items()):
        outcome = get_code(take, build(tmp_path / f"{number}.tar", **more))
        if outcome != code:
            wrong[name] = outcome
    (tmp_path / "words.tar").write_text("no archive\n" * 100)
    if (outcome := get_code(take, tmp_path / "words.tar")) != "image_invalid":
        wrong["no archive"] = outcome
    (tmp_path / "bomb.gz").write_bytes(bomb)
    if (outcome := get_code(take, tmp_path / "bomb.gz")) != "archive_bomb":
        wrong["a packed bomb"] = outcome
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("apps.platform.artifacts.local_store.write_all", lambda *_: (_ for _ in ()).throw(full))
    if (outcome := get_code(take, docker(tmp_path / "good.tar"))) != "storage_full":
        wrong["full disk"] = outcome
    assert wrong == {}
    assert (ContainerImage.objects.count(), ImageTag.objects.count()) == (0, 0)


def get_code(take, path):
    try:
        take(path)
    except PlaneError as error:
        return error.code
    return ""


def test_the_registry(take, tmp_path, viewer, make_token):
    (tag,) = take(build_oci_archive(tmp_path / "a.tar"))
    client = Client()
    manifest = client.get("/v2/demo/app/manifests/v2")
    pinned = f"sha256:{tag.image.manifest_digest}"
    assert (manifest.headers["Docker-Content-Digest"], digest(manifest.content)) == (pinned, pinned[7:])
    assert client.get(f"/v2/demo/app/manifests/{pinned}").content == manifest.content
    layer = manifest.json()["layers"][0]["digest"]
    assert digest(client.get(f"/v2/demo/app/blobs/{layer}").getvalue()) == layer[7:]
    assert client.get("/v2/demo/app/tags/list").json() == {"name": "demo/app", "tags": ["v2"]}
    assert client.get("/v2/_catalog").json() == {"repositories": ["demo/app"]}
    answers = {
        "another tag": client.get("/v2/demo/app/manifests/v9").status_code,
        "of another repository": client.get(f"/v2/demo/other/blobs/{layer}").status_code,
        "a push": client.post("/v2/demo/app/blobs/uploads/").status_code,
        "nobody": Client(REMOTE_ADDR="192.0.2.7").get("/v2/").status_code,
    }
    assert answers == {"another tag": 404, "of another repository": 404, "a push": 405, "nobody": 401}
    bearer = {"Authorization": f"Bearer {make_token(viewer)[0]}"}
    assert Client(REMOTE_ADDR="192.0.2.7").get("/v2/", headers=bearer).status_code == 200


def test_pages_commands_and_who_may(take, tmp_path, web, api, viewer, engineer, actor_for, capsys):
    path = build_docker_archive(tmp_path / "a.tar")
    call_command("import_image", path, "--architecture", "amd64")
    assert "demo/app:v1 sha256:" in capsys.readouterr().out
    image = ContainerImage.objects.get()
    assert image.manifest_digest in web(viewer).get("/images").content.decode()
    answer = web(viewer).get(f"/images/{image.manifest_digest}.tar")
    exported = answer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        assert archive.getmember("manifest.json")
    assert api(viewer).get("/api/v1/images?q=demo").json()["items"][0]["digest"] == f"sha256:{image.manifest_digest}"
    call_command("export_image", "demo/app:v1", tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == exported
    with pytest.raises(CommandError):
        call_command("export_image", "demo/app:v9", tmp_path / "other.tar")
    with pytest.raises(Refused):
        services.import_image(actor=actor_for(engineer), path=path)
