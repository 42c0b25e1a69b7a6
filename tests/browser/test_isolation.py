"""The page of isolation: the policy is written, a node's report turns the lamp red, then green."""

from __future__ import annotations

from playwright.sync_api import expect

REPORT = """
from apps.platform.nodes.models import Node
from apps.site.isolation.models import ProbeReport
row = {{"kind": "tcp", "target": "192.0.2.1", "protocol": "tcp", "port": 443, "verdict": "{0}", "refused_by": "",
    "rule": "", "error": "", "packets_left": 0, "seconds": 1.0, "at": "2026-11-29T12:00:00Z"}}
ProbeReport.objects.create(node=Node.objects.get(name={1!r}), verdict="{0}", results=[row])
"""


def test_a_policy_is_written_and_the_lamp_follows_the_probes(plane, signed_in, node_name, run_code):
    page = signed_in("secadmin")
    page.goto(f"{plane}/isolation/nodes")
    page.locator("#fnetworks").fill("192.168.1.0/24")
    page.locator("#freason").fill("a start")
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_text("Change the policy")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text("ip daddr 192.168.1.0/24 accept")
    run_code(REPORT.format("passed", node_name))
    page.goto(f"{plane}/")
    page.get_by_role("link", name="Not isolated").first.click()
    expect(page.get_by_text("Something came through on")).to_be_visible()
    run_code(REPORT.format("refused", node_name))
    page.reload()
    expect(page.get_by_role("link", name="Isolated", exact=True).first).to_be_visible()
    page.get_by_role("link", name="All reports").click()
    expect(page.get_by_text("192.0.2.1:443: came through").first).to_be_visible()
