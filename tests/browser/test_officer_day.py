"""The compliance officer's day: filter the trail, follow one object, verify, export, and check the file without us."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages


@pytest.fixture(scope="module")
def beds(run_code) -> None:
    """Something that has happened: a model version."""
    run_code("from tests.browser.versions import make; make('beds', 2.5)")


@pytest.fixture
def officer(signed_in, beds, plane):
    """The page of the auditor, on the audit trail."""
    page = signed_in("auditor")
    page.goto(f"{plane}/audit")
    return page


def taken(page, press, folder, name: str):
    """What a link or button downloads, as a file."""
    with page.expect_download() as coming:
        press()
    coming.value.save_as(folder / name)
    return folder / name


def checked(*words) -> tuple[int, str]:
    """Exit status and words of the verifier, run by a bare Python without the plane."""
    command = [sys.executable, "-I", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={})
    return done.returncode, done.stdout + done.stderr


def test_filter_then_the_timeline_of_one_object(officer, plane):
    expect(officer.locator("#main")).to_contain_text("Failed log-ins")
    expect(officer.locator("#main")).to_contain_text("that you read this is recorded too")
    officer.get_by_label("Action", exact=True).fill("model.")
    officer.get_by_role("button", name="Filter").click()
    expect(officer.locator("a.chip")).to_contain_text("Action: model.")
    expect(officer.locator(".tline > li").first).to_contain_text("model.")
    officer.get_by_role("link", name="Object history").first.click()
    expect(officer.locator("h1")).to_contain_text("model")
    expect(officer.get_by_role("heading", name="Actors")).to_be_visible()
    officer.goto(f"{plane}/audit?action=audit.view")
    expect(officer.locator(".tline > li").first).to_contain_text("auditor")
    officer.locator("a.chip").click()
    expect(officer.locator("a.chip")).to_have_count(0)


def test_verify_shows_how_far_it_is_and_ends_whole(officer):
    officer.get_by_role("button", name="Verify now").click()
    expect(officer).to_have_url(re.compile("/audit/chain$"))
    expect(officer.locator(".title .state")).to_have_text("Chain verified")
    expect(officer.locator("#verification")).to_contain_text("Requested by auditor")


def test_export_and_check_it_offline(officer, plane, tmp_path):
    officer.get_by_role("button", name="Export").first.click()
    officer.locator("#export").get_by_label("Reason").fill("review of the quarter")
    press = officer.locator("#export").get_by_role("button", name="Export").click
    exported = taken(officer, press, tmp_path, "audit.jsonl")
    officer.goto(f"{plane}/audit/chain")
    names = {"verify.py": "verify.py", "Public key": "key.pem", "Checkpoints": "checkpoints.jsonl"}
    links = officer.locator("#main")
    verifier, key, checkpoints = (
        taken(officer, links.get_by_role("link", name=word, exact=True).click, tmp_path, name)
        for word, name in names.items()
    )
    own = ("--public-key", key, "--checkpoint", checkpoints)
    status, said = checked(verifier, exported, *own)
    assert (status, "WHOLE" in said) == (0, True), said
    assert "review of the quarter" in exported.read_text()
    exported.write_text(exported.read_text().replace("review of the quarter", "review of the quartz", 1))
    status, said = checked(verifier, exported, *own)
    assert (status, "BROKEN" in said) == (1, True), said


def test_audit_pages_fit_a_phone(officer, plane):
    paths = ["/audit", "/audit/chain", "/audit/object/modelversion/1"]
    assert list_wide_pages(officer, [f"{plane}{path}" for path in paths]) == []
