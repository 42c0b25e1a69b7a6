"""Packages and images by their pages: published by twine, marked by an advisory, yanked; imported and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, list_wide_pages
from tests.image_files import build_docker_archive
from tests.package_files import build_wheel, hash_file

COMMAND = "from django.core.management import call_command\ncall_command(*{0!r})"
USE = """
from apps.platform.nodes.models import Node
image = {{"name": "shop", "kind": "image", "digest": {1!r}}}
node = Node.objects.get(name={0!r})
node.hardware["environments"] = [image] if {2} else []
node.save(update_fields=["hardware"])
"""


@pytest.fixture
def manage(run_code):
    """manage("command", "argument", ...) -> what the command printed, in the plane's home."""
    return lambda *words: run_code(COMMAND.format([str(word) for word in words])).strip()


@pytest.fixture
def publish(plane, manage):
    """publish(wheel): twine's upload, with a token of the engineer."""
    token = manage("create_token", "engineer", "--project=demo", "--scopes=packages:write")

    def upload(wheel: Path) -> None:
        command = [sys.executable, "-m", "twine", "upload", "--repository-url", f"{plane}/legacy/", str(wheel)]
        more = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token, "TWINE_NON_INTERACTIVE": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return upload


@pytest.fixture
def import_advisory(manage, tmp_path):
    def take(name: str) -> None:
        affected = [{"package": {"ecosystem": "PyPI", "name": name}, "versions": ["1.0"]}]
        row = {"id": "PYSEC-7", "modified": "2026-10-01T00:00:00Z", "summary": "reads too far", "affected": affected}
        (tmp_path / "feed.json").write_text(json.dumps(row))
        manage("import_advisories", tmp_path / "feed.json")

    return take


def test_a_package_is_published_marked_and_yanked(signed_in, plane, publish, import_advisory, tmp_path):
    page = signed_in("engineer")
    wheel = build_wheel(tmp_path, "bench-tools", "1.0")
    publish(wheel)
    page.goto(f"{plane}/packages")
    page.get_by_role("link", name="bench-tools").click()
    expect(page.get_by_role("cell").locator(f'[title="sha256:{hash_file(wheel)}"]')).to_be_visible()
    expect(page.get_by_text(f"pip install bench-tools --index-url={plane}/simple")).to_be_visible()
    import_advisory("bench-tools")
    page.reload()
    expect(page.get_by_role("heading", level=1).locator("..")).to_contain_text("1 advisory")
    expect(page.get_by_role("row").filter(has_text="1.0")).to_contain_text("PYSEC-7")
    page.get_by_role("button", name="Yank", exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill("deletes files")
    page.get_by_role("button", name="Yank the version").click()
    expect(page.get_by_text("is yanked: installers no longer choose it.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="1.0")).to_contain_text("deletes files")
    assert 'data-yanked="deletes files"' in page.request.get(f"{plane}/simple/bench-tools/").text()
    page.get_by_role("button", name="Unyank").click()
    expect(page.get_by_role("button", name="Yank", exact=True)).to_be_visible()
    assert list_wide_pages(page, [f"{plane}/packages", page.url]) == []


def test_an_image_is_listed_with_the_node_that_uses_it(signed_in, plane, node_name, manage, run_code, tmp_path):
    page = signed_in("engineer")
    archive = build_docker_archive(tmp_path / "shop.tar", names=["demo/shop:v1"])
    pinned = manage("import_image", archive, "--architecture=amd64").split()[1]
    page.goto(f"{plane}/packages")
    page.get_by_role("link", name="Images", exact=True).click()
    row = page.get_by_role("row").filter(has_text="demo/shop:v1")
    expect(row.locator(f'[title="{pinned}"]')).to_be_visible()
    expect(row).not_to_contain_text("Used by")
    run_code(USE.format(node_name, pinned, True))
    page.reload()
    expect(row).to_contain_text(f"Used by {node_name}")
    run_code(USE.format(node_name, pinned, False))
    with page.expect_download() as download:
        row.get_by_role("link", name="For docker load").click()
    assert download.value.suggested_filename.endswith(".tar")
    assert Path(download.value.path()).stat().st_size > 0
    assert list_wide_pages(page, [f"{plane}/images"]) == []
