"""Transfer by its pages: a bundle is built, carried in, checked in quarantine, and its approval requested."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from deepseek.bundles.signatures import add_signature
from deepseek.bundles.spec import BundleManifest, PlaneRef, encode_inventory
from deepseek.signing.keys import compute_key_id, encode_public_key, generate_key
from tests.browser.conftest import list_wide_pages

TARGET = PlaneRef("c" * 32, "target")
DATA = """
from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.services import add_files
from apps.platform.accounts.models import Project
from tests.faults.served_models import store
project = Project.objects.get(slug="demo")
artifact = store(project, b"rows to carry")
files = [("a.txt", artifact.pk, "text/plain")]
add_files(actor=build_plane_actor(PlaneRole.WORKER), project=project, dataset_name="carried", files=files)
"""
BUILT = """
import json
from apps.site.transfer.folders import get_outgoing_folder
from apps.site.transfer.models import OutgoingBundle
bundle = OutgoingBundle.objects.latest("pk")
print(json.dumps([bundle.manifest, str(get_outgoing_folder(bundle))]))
"""
TRUST = """
import json
from apps.platform.accounts.models import Project
from apps.site.transfer.models import BundleSigner, PlaneIdentity
PlaneIdentity.objects.update(plane_id={0!r}, name="target")
for row in json.loads({1!r}):
    BundleSigner.objects.create(
        project=Project.objects.get(slug="demo"), source_name="source", proposed_by="x", state="trusted", **row
    )
"""


def test_a_bundle_is_built_checked_and_asked_for(signed_in, plane, run_code, tmp_path):
    run_code(DATA)
    page, base = signed_in("engineer"), f"{plane}/p/demo/transfer"
    page.goto(base)
    page.get_by_role("link", name="Build a bundle").click()
    (tmp_path / "inventory.json").write_bytes(encode_inventory(TARGET, "2026-11-30T09:00:00Z", []))
    page.locator("textarea").fill("data/carried:v1")
    page.locator("input[type=file]").set_input_files(tmp_path / "inventory.json")
    page.get_by_role("button", name="Build").click()
    expect(page.get_by_role("heading", name="Bundle 1 to target")).to_be_visible()
    outgoing = page.url
    wait_for(page, "volume-0001.tar")

    text, folder = json.loads(run_code(BUILT).splitlines()[-1])
    manifest, keys = BundleManifest.parse(text.encode()), {name: generate_key() for name in ("Ada", "Bo")}
    envelope = None
    for key in keys.values():
        envelope = add_signature(manifest, envelope, key)
    (tmp_path / "bundle.dsse.json").write_text(envelope.to_json())
    rows = [
        {
            "person": person,
            "source_id": manifest.head.source.id,
            "public_key": encode_public_key(key.public_key),
            "key_id": compute_key_id(key.public_key),
            "fingerprint": str(len(person)) * 64,
        }
        for person, key in keys.items()
    ]
    run_code(TRUST.format(TARGET.id, json.dumps(rows)))

    page.goto(f"{base}/receive")
    page.locator("input[type=file]").set_input_files(tmp_path / "bundle.dsse.json")
    with page.expect_navigation():  # to another field for a file
        page.get_by_role("button", name="Go on to the volumes").click()
    incoming = page.url
    page.locator("input[type=file]").set_input_files(f"{folder}/volume-0001.tar")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Check").click()
    wait_for(page, "What will change")
    expect(page.get_by_text("1 already here")).to_be_visible()
    pages = [base, f"{base}/build", f"{base}/receive", f"{base}/signers", outgoing, incoming]
    assert list_wide_pages(page, pages) == []
    page.goto(incoming)
    page.get_by_role("button", name="Request approval").click()
    expect(page.get_by_role("heading", name="Who signed")).to_be_visible()


def wait_for(page, text: str) -> None:
    """The page renews itself until the worker has come so far; 90 s: of a busy machine."""
    expect(page.get_by_text(text).first).to_be_visible(timeout=90_000)
