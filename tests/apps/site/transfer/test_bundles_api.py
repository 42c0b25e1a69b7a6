"""Bundles by REST and by the pages: the same services, the same refusals."""

import io
import json

import pytest
from django.urls import reverse

from apps.data.datasets.services import add_files
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from deepseek.bundles.inventory import Inventory
from deepseek.bundles.signer_files import encode_signer
from tests.apps.site.transfer.conftest import KEYS, SOURCE, TARGET, become, sign, trust


@pytest.fixture
def data(site, project, held):
    artifact = held(b"rows")
    return add_files(actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")])


def read(answer):
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_the_whole_way_by_rest(site, data, project, other_project, api, engineer, django_user_model):
    builder, receiver = api(engineer), api(django_user_model.objects.get(username="receiver"))
    become(TARGET)
    inventory = read(receiver.get("/api/v1/projects/other/bundle-inventory"))
    assert Inventory.parse(inventory).plane == TARGET
    become(SOURCE)
    sent = builder.post("/api/v1/projects/demo/artifacts", inventory, content_type="application/octet-stream")
    body = {"contents": ["data/wti:v1"], "inventory": sent.json()["digest"], "volume_bytes": 1 << 20}
    made = builder.post("/api/v1/projects/demo/bundles", body, format="json")
    assert made.status_code == 201, made.content
    path = f"/api/v1/projects/demo/bundles/{made.json()['id']}"
    assert builder.get(f"{path}/manifest").json()["error"]["code"] == "bundle_not_built"
    from apps.site.transfer import services

    services.drive_bundles(actor=site.worker)
    bundle = OutgoingBundle.objects.get()
    assert read(builder.get(f"{path}/manifest")).decode() == bundle.manifest
    volume = read(builder.get(f"{path}/volumes/1"))
    assert builder.get(f"{path}/volumes/2").status_code == 404
    become(TARGET)
    trust(other_project, "Ada", "Bo")
    from deepseek.bundles.spec import BundleManifest

    document = sign(BundleManifest.parse(bundle.manifest.encode()), "Ada", "Bo")
    assert builder.post("/api/v1/projects/other/received-bundles", document, format="json").status_code == 404
    came = receiver.post("/api/v1/projects/other/received-bundles", document, format="json")
    assert (came.status_code, came.json()["missing"]) == (201, [1])
    path = f"/api/v1/projects/other/received-bundles/{came.json()['id']}"
    put = receiver.put(f"{path}/volumes/1", volume, content_type="application/octet-stream")
    assert (put.status_code, put.json()["missing"]) == (200, [])
    assert receiver.post(f"{path}/check").json()["state"] == "checking"
    services.drive_bundles(actor=site.worker)
    assert receiver.get(path).json()["preview"]["new"] == 1
    assert receiver.post(f"{path}/accept", {"reason": "x"}, format="json").json()["error"]["code"] == "scope_missing"
    assert receiver.post(f"{path}/apply", {}, format="json").json()["approval"]
    assert receiver.post(f"{path}/discard", {}, format="json").json()["state"] == "discarded"
    key = {"source": {"id": SOURCE.id, "name": "source"}, "signer": encode_signer("Cy", KEYS["Cy"].public_key).decode()}
    asked = receiver.post("/api/v1/projects/other/bundle-signers", key, format="json")
    assert asked.status_code == 201
    revoke = f"/api/v1/projects/other/bundle-signers/{asked.json()['id']}/revoke"
    assert receiver.post(revoke, {"reason": "x"}, format="json").json()["state"] == "revoked"


def test_the_whole_way_by_pages(site, data, project, other_project, web, engineer, django_user_model, sysadmin):
    builder, receiver = web(engineer), web(django_user_model.objects.get(username="receiver"))
    become(TARGET)
    inventory = receiver.get(reverse("transfer:inventory", args=["other"])).content
    become(SOURCE)
    page = reverse("transfer:build", args=["demo"])
    wrong = {"contents": "data/none:v1", "inventory": io.BytesIO(inventory), "volume_megabytes": "2"}
    refused = builder.post(page, wrong)
    assert (refused.status_code, "data/none:v1" in refused.content.decode()) == (422, True)
    built = builder.post(page, {**wrong, "contents": "data/wti:v1", "inventory": io.BytesIO(inventory)})
    bundle = OutgoingBundle.objects.get()
    assert built.url == reverse("transfer:outgoing", args=["demo", bundle.pk])
    from apps.site.transfer import services
    from apps.site.transfer.folders import get_outgoing_folder
    from deepseek.bundles.spec import BundleManifest

    services.drive_bundles(actor=site.worker)
    bundle.refresh_from_db()
    volume = reverse("api-bundle-volume", args=["demo", bundle.pk, 1])
    assert volume in builder.get(built.url).content.decode()
    administrator = web(sysadmin)  # of no project: sees what is carried, and not its bytes
    assert volume not in administrator.get(built.url).content.decode()
    assert (builder.get(volume).status_code, administrator.get(volume).status_code) == (200, 403)
    builder.post(built.url, {"op": "nonsense"})
    bundle.refresh_from_db()
    assert bundle.state == "built"
    become(TARGET)
    trust(other_project, "Ada", "Bo")
    page, manifest = reverse("transfer:receive", args=["other"]), BundleManifest.parse(bundle.manifest.encode())
    assert receiver.post(page, {"envelope": io.BytesIO(b"nonsense")}).status_code == 422
    signed = json.dumps(sign(manifest, "Ada", "Bo")).encode()
    page = receiver.post(page, {"envelope": io.BytesIO(signed)}).url
    volume = io.BytesIO((get_outgoing_folder(bundle) / "volume-0001.tar").read_bytes())
    volume.name = "holiday.tar"
    assert receiver.post(page, {"op": "volume", "volume": volume}).status_code == 422
    volume.seek(0)
    volume.name = "volume-0001.tar"
    assert receiver.post(page, {"op": "volume", "volume": volume}).status_code == 302
    assert receiver.post(page, {"op": "check"}).status_code == 302
    services.drive_bundles(actor=site.worker)
    shown = receiver.get(page).content.decode()
    assert "in a new dataset wti" in shown
    assert web(sysadmin).get(page).status_code == 200
    approval = receiver.post(page, {"op": "apply"})
    assert "in a new dataset wti" in receiver.get(approval.url).content.decode()
    assert receiver.post(page, {"op": "discard"}).status_code == 302
    assert IncomingBundle.objects.get().state == "discarded"
    key = io.BytesIO(encode_signer("Cy", KEYS["Cy"].public_key))
    page = reverse("transfer:signers", args=["other"])
    assert receiver.post(page, {"signer": key, "source_id": "x", "source_name": "s"}).status_code == 422
    key.seek(0)
    body = {"signer": key, "source_id": SOURCE.id, "source_name": "source", "valid_days": "30"}
    asked = receiver.post(page, body)
    assert "Cy" in receiver.get(asked.url).content.decode()
    assert "Cy" in receiver.get(reverse("transfer:overview", args=["other"])).content.decode()
