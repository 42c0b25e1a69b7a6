"""The calendar of the plane: an administrator schedules a probe of the nodes, and follows what became of its time."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages

DUE = """
from datetime import timedelta
from django.utils import timezone
from apps.platform.calendars.models import Schedule
Schedule.objects.filter(name="nightly look").update(next_at=timezone.now() - timedelta(seconds=1))
"""
REMOVE_PROBES = """
from apps.platform.nodes.models import Node
from apps.platform.nodes.probes.models import Probe
Probe.objects.all().delete()
Node.objects.update(failed_checks=[])
"""


@pytest.fixture
def node(node_name, run_code):
    """The plane's own node. A probe that its worker has not ended would write into the next test what it found."""
    yield node_name
    run_code(REMOVE_PROBES)


def test_a_probe_is_scheduled_and_its_time_leads_to_the_nodes(signed_in, plane, node, run_code):
    page = signed_in("sysadmin")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{plane}/nodes")
    page.locator("#rail").get_by_role("link", name="Schedules").click()
    expect(page.get_by_text("No schedules yet. Choose New schedule")).to_be_visible()
    page.get_by_role("link", name="New schedule").click()
    page.fill("[name=name]", "nightly look")
    page.fill("[name=cron]", "30 2 * * mon-fri")
    page.select_option("[name=target]", "probe")
    page.select_option("[name=timezone]", "Europe/Berlin")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#main")).to_contain_text("Probe of nodes")
    expect(page.locator("#main")).to_contain_text("Not due yet.")
    calendar = page.url
    run_code(DUE)
    link = page.locator("td a", has_text=re.compile(r"^#\d+$"))
    for _ in range(120):  # the dispatcher looks every second, of a machine that is not busy
        page.reload()
        if link.count():
            break
        page.wait_for_timeout(500)
    link.first.click()
    expect(page.locator("h1")).to_have_text(re.compile(r"Probe \d+"))
    expect(page.locator("tbody th")).to_have_text(node)
    assert list_wide_pages(page, [page.url, calendar, f"{plane}/schedules"]) == []
    page.goto(calendar)
    page.get_by_role("button", name="Pause").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=reason]").fill("The nodes move to another hall.")
    dialog.get_by_role("button", name="Pause the schedule").click()
    expect(page.locator("#main")).to_contain_text("Paused: nothing is submitted.")
