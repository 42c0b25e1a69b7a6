"""The pages of a node: what its doctor sends closes and opens it; it is held, drained, released and labelled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, list_wide_pages

DOCTOR = [sys.executable, "-m", "deepseek.doctor", "cpu.count", "cpu.arch", "net.plane", "svc.database"]
PUT_BACK = """
from apps.platform.nodes.models import Node
Node.objects.update(failed_checks=[], labels=[], held_at=None, held_reason="")
"""

CANCEL_JOBS = """
import time
from contextlib import suppress
from apps.core.errors import Conflict
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import User
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job
engineer = build_actor_for_user(User.objects.get(username="engineer"))
for job in Job.objects.filter(ended_at=None, cancel_requested_at=None):
    with suppress(Conflict):  # it has just ended
        cancel_job(actor=engineer, job=job, reason="left by another test")
for _ in range(120):
    if not Job.objects.filter(ended_at=None).exists():
        break
    time.sleep(0.5)
"""


@pytest.fixture
def node(node_name, run_code) -> Iterator[str]:
    """The plane's own node; at the end it takes jobs again and has no labels."""
    yield node_name
    run_code(PUT_BACK)


@pytest.fixture
def send_report(plane, node, tmp_path: Path) -> Callable[..., str]:
    """send_report(token, min_cpus=1) -> what the doctor itself says of what it has sent; a site asks for more CPUs."""

    def send(token: str, *, min_cpus: int) -> str:
        site = tmp_path / "site.toml"
        site.write_text(f"[cpu.count]\nmin_cpus = {min_cpus}\n")
        command = [*DOCTOR, "--settings", str(site), "--plane", plane, "--node", node, "--send"]
        environment = {**os.environ, "DEEPSEEK_TOKEN": token}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300).stderr

    return send


def test_a_failed_required_check_closes_the_node_until_a_report_has_it_in_order(signed_in, plane, node, send_report):
    page = signed_in("sysadmin")
    page.goto(f"{plane}/nodes/{node}/health")
    page.get_by_role("button", name="Issue a token").click()
    token = page.get_by_text("export DEEPSEEK_TOKEN=").inner_text().partition("=")[2].strip()
    assert "the node takes no jobs: cpu.count" in send_report(token, min_cpus=100_000)
    page.goto(f"{plane}/nodes/{node}")
    expect(page.get_by_text("Required checks of its doctor failed: cpu.count.")).to_be_visible()
    page.get_by_role("link", name="Causes and remedies").click()
    expect(page.get_by_text("The node takes no new jobs.", exact=True)).to_be_visible()
    failed = page.get_by_role("row").filter(has_text="cpu.count")
    expect(failed).to_contain_text("keeps jobs away")
    expect(failed).to_contain_text("Raise the quota")
    page.get_by_text("Show all").click()
    expect(page.get_by_role("row").filter(has_text="net.plane")).to_contain_text("Passed")
    page.goto(f"{plane}/nodes")
    expect(page.get_by_text("1 with failed checks")).to_be_visible()
    assert "takes no jobs" not in send_report(token, min_cpus=1)
    page.goto(f"{plane}/nodes/{node}/health")
    expect(page.get_by_text("Problems over time")).to_be_visible()
    expect(page.get_by_text("The node takes no new jobs.", exact=True)).to_have_count(0)


@pytest.fixture
def engineer(browser, watch, sign_in_as):
    """A page of the engineer, beside that of the administrator."""
    context = browser.new_context()
    yield sign_in_as(watch(context.new_page()), "engineer")
    context.close()


def test_a_node_is_drained_and_released(signed_in, engineer, plane, node, run_code):
    run_code(CANCEL_JOBS)
    engineer.goto(f"{plane}/p/demo/jobs/new/noop")
    engineer.locator('[name="/seconds"]').fill("300")
    engineer.get_by_role("button", name="Queue", exact=True).last.click()
    expect(engineer.locator(".title .state")).to_have_text("Running")
    page = signed_in("sysadmin")
    page.goto(f"{plane}/nodes/{node}")
    page.get_by_role("button", name="Hold", exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill("a new fan")
    page.get_by_role("button", name="Hold the node").click()
    expect(page.locator(".title .state")).to_have_text("Draining")
    expect(page.get_by_text("1 job still runs.")).to_be_visible()
    expect(page.get_by_text("a new fan").first).to_be_visible()
    cancel_job(engineer)
    page.goto(f"{plane}/nodes/{node}")
    expect(page.get_by_text("nothing runs there: it may be taken down.")).to_be_visible()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text(f"{node} takes jobs again.")).to_be_visible()


def cancel_job(page) -> None:
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_label("Reason").fill("the node is drained")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".title .state")).to_have_text("Cancelled")


def test_a_node_is_labelled(signed_in, plane, node):
    page = signed_in("sysadmin")
    page.goto(f"{plane}/nodes/{node}/hardware")
    page.get_by_label("Labels that jobs may ask for").fill("rack=3, nvme")
    page.get_by_role("button", name="Set labels").click()
    expect(page.locator("#main").get_by_text(f"Jobs that ask for these labels may run on {node}.")).to_be_visible()
    expect(page.locator("dd").filter(has_text=re.compile("nvme, rack=3|rack=3, nvme"))).to_be_visible()
    page.get_by_label("Labels that jobs may ask for").fill("rack/3")
    page.get_by_role("button", name="Set labels").click()
    expect(page.get_by_text("rack/3").first).to_be_visible()
    tabs = ("", "/jobs", "/hardware", "/health", "/audit")
    assert list_wide_pages(page, [f"{plane}/nodes/{node}{tab}" for tab in tabs]) == []
