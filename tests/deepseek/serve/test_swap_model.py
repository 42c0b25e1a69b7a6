"""Swaps: a new version takes over with no failed request, or the old one stays and the reason is told."""

import asyncio
import json
import shutil
import stat

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient

from deepseek.job import EngineError
from deepseek.models.manifest import MANIFEST_NAME, ModelManifest, compute_file_sha256
from deepseek.models.predictor import load_predictor
from deepseek.serve.admin import check_socket_path, create_admin_app
from deepseek.serve.app import create_app, create_executor
from deepseek.serve.options import ServeOptions
from deepseek.serve.responses import Refused
from deepseek.serve.swapping import ModelSwapper
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import load_models

ROW = [1, 2, 3, 4, 5]
OPTIONS = ServeOptions(at_once=1)


@pytest.fixture
def versions(tmp_path):
    """Folders of three versions: two alike, and one that takes another row."""
    made = {"wti": {"seed": 1}, "second": {"seed": 2}, "wider": {"inputs": 6}}
    for name, words in made.items():
        make_model(tmp_path / name, task="classification", **words)
    return tmp_path


@pytest.fixture
def service(versions):
    return create_app(load_models(versions / "wti"), OPTIONS)


@pytest.fixture
def swapper(service):
    return ModelSwapper(service.repository, OPTIONS, create_executor(OPTIONS))


@pytest.fixture
def admin(service, swapper):
    return TestClient(create_admin_app(service, swapper))


def break_weights(folder):
    """Let the model answer NaN, and its manifest be of these bytes."""
    path = folder / "model.safetensors"
    tensors = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(path).items()}
    save_file(tensors, path)
    document = json.loads((folder / MANIFEST_NAME).read_text())
    document["file"] |= {"sha256": compute_file_sha256(path), "size": path.stat().st_size}
    (folder / MANIFEST_NAME).write_text(json.dumps(document))


def test_no_request_fails_and_each_answer_is_of_the_version_it_names(service, swapper, versions):
    expected = {
        version: load_predictor(versions / folder).predict(np.array([ROW], np.float32)).tolist()
        for version, folder in (("1", "wti"), ("2", "second"))
    }
    answers = []

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://x") as client:
            done = asyncio.Event()

            async def ask():
                while not done.is_set():
                    answer = await client.post("/predict", json={"features": [ROW]})
                    answers.append((answer.headers.get("x-model-version"), answer.status_code, answer.json()))
                    await asyncio.sleep(0)  # nothing else here waits for anything

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            for version, folder in (("1", "wti"), ("2", "second")) * 3:
                report = await swapper.swap("wti", versions / folder, version)
                assert (report["version"], report["changed"]) == (version, True)
                with pytest.raises(Refused):
                    await swapper.swap("wti", versions / "wider")
                await asyncio.sleep(0.02)
            done.set()
            await asyncio.gather(*asking)

    asyncio.run(run())
    named = [(version, answer) for version, status, answer in answers if version in expected]
    assert {status for _, status, _ in answers} == {200}
    assert {version for version, _ in named} == {"1", "2"}
    wrong = [answer for version, answer in named if answer["prediction"] != expected[version]]
    assert wrong == []


def test_another_signature_is_refused_with_the_difference(admin, service, versions):
    before = service.repository.default.current
    answer = admin.put("/admin/models/wti", json={"folder": str(versions / "wider")})
    assert answer.status_code == 409
    errors = answer.json()["error"]["errors"]
    assert {error["code"] for error in errors} == {"signature_differs"}
    assert (errors[0]["field"], errors[0]["limit"]) == ("/features", "5 entries")
    assert service.repository.default.current is before
    status = admin.get("/admin/status").json()["models"][0]
    assert (status["swaps"], status["refused_swaps"], status["version"]) == (0, 1, before.version)
    assert "6 entries" in status["last_refusal"]


def test_versions_that_must_not_answer(admin, service, versions):
    for name in ("tampered", "broken", "empty"):
        shutil.copytree(versions / "second", versions / name)
    (versions / "tampered/model.safetensors").write_bytes(b"other")
    break_weights(versions / "broken")
    (versions / "empty" / MANIFEST_NAME).unlink()
    expected = {"tampered": "model_tampered", "broken": "health_check_failed", "empty": "no_model_folder"}
    answers = {name: admin.put("/admin/models/wti", json={"folder": str(versions / name)}) for name in expected}
    found = {name: answer.json()["error"]["code"] for name, answer in answers.items()}
    assert found == expected
    assert {answer.status_code for answer in answers.values()} == {422}
    client = TestClient(service)
    assert client.post("/predict", json={"features": ROW}).status_code == 200


def test_a_version_that_fails_in_another_way_is_refused_too(admin, versions, monkeypatch):
    def fail(*words):
        raise PermissionError(13, "Permission denied", "model.json")

    monkeypatch.setattr("deepseek.serve.swapping.load_model", fail)
    for path in ("/admin/models/wti", "/admin/models/wti/shadow"):
        answer = admin.put(path, json={"folder": str(versions / "second")})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "health_check_failed")
    assert "Permission denied" in admin.get("/admin/status").json()["models"][0]["last_refusal"]


def test_the_control_refuses_what_it_cannot_do(admin, versions):
    folder = str(versions / "second")
    cases = [
        ("/admin/models/other", {"folder": folder}, 404, "not_found"),
        ("/admin/models/wti", {"folder": "relative"}, 422, "invalid"),
        ("/admin/models/wti", {"folder": folder, "version": "a b"}, 422, "invalid"),
        ("/admin/models/wti", {"folder": folder, "more": 1}, 422, "invalid"),
        ("/admin/models/wti", {}, 422, "invalid"),
        ("/admin/models/wti/shadow", {"folder": folder, "rate": 0}, 422, "invalid"),
        ("/admin/models/wti/shadow", {"folder": str(versions / "wider")}, 409, "signature_differs"),
        ("/admin/models/other/shadow", {"folder": folder}, 404, "not_found"),
    ]
    wrong = []
    for path, body, status, code in cases:
        answer = admin.put(path, json=body)
        if (answer.status_code, answer.json()["error"]["code"]) != (status, code):
            wrong.append((path, body, answer.text))
    assert wrong == []
    assert admin.put("/admin/models/wti", content=b"{").status_code == 422


def test_the_same_version_again_changes_nothing(admin, service, versions):
    before = service.repository.default.current
    answer = admin.put("/admin/models/wti", json={"folder": str(versions / "wti")})
    assert (answer.status_code, answer.json()["changed"]) == (200, False)
    assert service.repository.default.current is before


def test_the_socket_lies_in_a_folder_of_its_own(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    check_socket_path(private / "a.sock")
    (private / "file").write_text("")
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(stat.S_IRWXU | stat.S_IXOTH)
    for path in (open_folder / "a.sock", tmp_path / "absent/a.sock", private / "file", private / ("x" * 108)):
        with pytest.raises(EngineError) as failure:
            check_socket_path(path)
        assert failure.value.code == "socket_unsafe"


def test_manifests_that_differ_in_what_clients_see(versions):
    from deepseek.serve.signatures import compare_signatures

    manifest = ModelManifest.read(versions / "wti" / MANIFEST_NAME)
    assert compare_signatures(manifest, ModelManifest.read(versions / "second" / MANIFEST_NAME)) == []
    changes = {
        "/task": {"task": "regression"},
        "/features/0": {"features": ["y0", *manifest.features[1:]]},
        "/classes/1": {"classes": ["no", "perhaps"]},
    }
    found = {
        field: [error.field for error in compare_signatures(manifest, manifest.model_copy(update=change))]
        for field, change in changes.items()
    }
    assert found == {field: [field] for field in changes}
