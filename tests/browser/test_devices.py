"""Devices by their pages: a token, a device that enrols with it, a release that it installs, and its quarantine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from tests.deepseek.agent.conftest import Device
from tests.deepseek.agent.test_real_plane import PlainServer

ISSUE = """
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from tests.apps.gateways.hawkbit.stock_plane import issue
issue(Project.objects.get(slug="demo"), build_actor_for_user(User.objects.get(username="engineer")))
"""


@pytest.fixture
def start_device(plane, tmp_path, monkeypatch):
    """start_device(token) -> an agent that has enrolled. It is the real one, and its server answers nothing."""
    monkeypatch.setattr("tests.deepseek.agent.servers.FakeServer", PlainServer)
    started = []

    def start(token):
        device = Device(tmp_path / "device", SimpleNamespace(url=plane), name="press-7", enrolment_token=token)
        started.append(device)
        return device.run()

    yield start
    for device in started:
        device.agent.close()


def test_a_device_enrols_installs_and_is_quarantined(signed_in, plane, run_code, start_device):
    run_code(ISSUE)
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/devices/enrolment")
    page.locator("#fname").fill("line 1")
    page.get_by_role("button", name="Create").click()
    device = start_device(page.locator(".note.held .cmd code").inner_text())
    page.goto(f"{plane}/p/demo/devices")
    page.get_by_role("link", name="press-7").click()
    expect(page.locator("[data-part=answer]")).to_contain_text("It has installed nothing from this plane yet.")
    page.locator("select[name=release]").select_option(index=1)
    page.get_by_role("button", name="Assign").click()
    expect(page.locator("[data-part=assignments]")).to_contain_text("pump-noise v1")
    device.wait(700)
    expect(page.locator("[data-part=answer]")).to_contain_text("Its signed receipt says so.")
    expect(page.locator("[data-part=assignments] tbody tr")).to_contain_text("Succeeded")
    page.get_by_role("button", name="Quarantine", exact=True).click()
    page.get_by_role("dialog").locator("[name=reason]").fill("It rattles.")
    page.get_by_role("button", name="Quarantine the device").click()
    expect(page.locator("[data-part=state]")).to_contain_text("Quarantined")
    expect(page.get_by_role("button", name="Assign")).to_have_count(0)
    device.wait(700)
    assert device.agent.session.state == "quarantined"
