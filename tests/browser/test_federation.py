"""A study by its pages: defined and invited, imported and approved at a site, and the ledger of what left."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, list_wide_pages


@pytest.fixture
def people(browser, watch, sign_in_as):
    """The pages of engineer, approver and auditor, each in a browser of their own."""
    contexts = [browser.new_context() for _ in range(3)]
    names = ("engineer", "approver", "auditor")
    yield [sign_in_as(watch(context.new_page()), name) for context, name in zip(contexts, names, strict=True)]
    for context in contexts:
        context.close()


def download(page, name: str, path) -> str:
    with page.expect_download() as event:
        page.get_by_role("link", name=name).click()
    event.value.save_as(path)
    return str(path)


def take_pictures(page, address: str, path: str) -> None:
    for width in (1440, 390):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            page.screenshot(path=f"{path}-{width}-{scheme}.png", full_page=True)


def test_a_study_from_its_form_to_the_officer(people, plane, run_code, tmp_path):
    engineer, approver, officer = people
    run_code("from tests.browser import federated; federated.add_table()")
    engineer.goto(f"{plane}/p/demo/studies/new")
    engineer.get_by_role("combobox", name="Dataset version").fill("patients:v1")
    engineer.get_by_role("button", name="Fill the schema").click()
    expect(engineer.locator("[name=schema]")).to_have_value(re.compile('"target": "disease"'))
    for name, text in {"name": "heart", "host": "127.0.0.1", "rounds": "2"}.items():
        engineer.locator(f"[name={name}]").fill(text)
    engineer.get_by_role("button", name="Create", exact=True).last.click()
    engineer.get_by_label("Site", exact=True).fill("cleveland")
    study = engineer.url
    engineer.get_by_role("button", name="Invite", exact=True).click()
    invitation = download(engineer, "Download invitation", tmp_path / "invitation.json")

    engineer.goto(f"{plane}/p/demo/studies/import")
    engineer.locator("[name=file]").set_input_files(invitation)
    engineer.get_by_role("button", name="Import", exact=True).click()
    expect(engineer.get_by_role("region", name="Data that leaves")).to_contain_text("127.0.0.1:8102")
    joined = engineer.url
    engineer.get_by_text("spec.py").click()
    expect(engineer.get_by_text("class StudySpec")).to_be_visible()
    engineer.get_by_label("Data of this site").fill("patients:v1")
    engineer.get_by_role("button", name="Choose the data").click()
    request = download(engineer, "Download enrolment request", tmp_path / "request.json")
    engineer.get_by_role("button", name="Request approval").click()
    expect(engineer.locator("[data-part=answer]")).to_contain_text("An approver decides")

    approver.goto(f"{plane}/p/demo/approvals")
    approver.get_by_role("link", name="Take part in heart as cleveland").click()
    decision = approver.url
    expect(approver.locator("#main")).to_contain_text("Data that leaves")
    approver.locator("#vote [name=reason]").fill("It fits our agreement.")
    approver.locator("#vote input[name=password]").fill(PASSWORD)
    with approver.expect_navigation():
        approver.get_by_role("button", name="Approve, let this site join").click()

    engineer.goto(study)
    engineer.get_by_label("Enrolment request of cleveland").set_input_files(request)
    engineer.get_by_role("button", name="Enrol", exact=True).click()
    certificate = download(engineer, "Download certificate", tmp_path / "certificate.json")
    engineer.goto(joined)
    engineer.get_by_label("Certificate from the coordinator").set_input_files(certificate)
    engineer.get_by_role("button", name="Import the certificate").click()
    expect(engineer.get_by_role("button", name="Join the study")).to_be_visible()
    expect(engineer.locator("[data-part=state]")).to_contain_text("Approved")

    run_code("from tests.browser import federated; federated.report_rounds()")
    engineer.goto(study)
    expect(engineer.get_by_role("region", name="Result")).to_contain_text("0.810 (0.720–0.880)")
    officer.goto(f"{plane}/p/demo/studies/ledger")
    expect(officer.get_by_role("region", name="Entries").locator("tbody tr")).to_have_count(3)
    expect(officer.get_by_role("region", name="Verification")).to_contain_text("Chain verified: 3 entries")
    ledger = f"{officer.url}?kind=refused"
    officer.goto(ledger)
    expect(officer.get_by_role("region", name="Entries").locator("tbody tr")).to_have_count(1)
    pages = [study, joined, ledger, f"{plane}/p/demo/studies", f"{plane}/p/demo/studies/new"]
    if folder := os.environ.get("FEDERATION_PICTURES"):
        for number, address in enumerate([*pages, decision, f"{plane}/p/demo/studies/ledger"]):
            take_pictures(engineer, address, f"{folder}/{number}")
        take_pictures(officer, f"{plane}/audit/egress-ledger", f"{folder}/plane")
    assert list_wide_pages(engineer, [*pages, decision]) == []
    assert list_wide_pages(officer, [f"{plane}/audit/egress-ledger"]) == []
