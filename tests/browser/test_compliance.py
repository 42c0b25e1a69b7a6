"""The officer's page: what is met, what is not, who owns the gap; usable at 390 px in the dark, and in Chinese."""

from __future__ import annotations

from playwright.sync_api import expect

SEED = """
from django.utils import timezone
from apps.site.compliance.clauses import CLAUSES
from apps.site.compliance.models import ClauseResult, EvidenceRun
now = timezone.now()
attempt = dict(text=dict(en="Send a password without TLS", zh="不经TLS提交口令"), holds=False, detail="200")
probe = dict(name="transport", verdict="not met", attempts=[attempt], seconds=0.1, reason=None)
run = EvidenceRun.objects.create(state="succeeded", requested_by="auditor", ended_at=now, met=42, not_met=4,
    probes=[probe])
bad = [clause.id for clause in CLAUSES if "transport" in clause.probes]
ClauseResult.objects.bulk_create(ClauseResult(run=run, clause=clause.id, since=now,
    verdict="not met" if clause.id in bad else "met") for clause in CLAUSES)
"""
REMOVE = """
from apps.site.compliance.models import EvidenceRun, Gap
EvidenceRun.objects.all().delete()
Gap.objects.all().delete()
"""


def is_too_wide(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_officer_sees_gaps_and_names_an_owner(plane, signed_in, run_code):
    page = signed_in("auditor")
    page.goto(f"{plane}/compliance")
    expect(page.get_by_text("No evidence yet")).to_be_visible()
    run_code(SEED)
    try:
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        page.reload()
        expect(page.get_by_text("of 46 clauses are met")).to_be_visible()
        expect(page.locator("[data-clause='8.1.4.1.c'][data-verdict='not met']")).to_be_visible()
        assert not is_too_wide(page)
        page.get_by_role("link", name="8.1.4.1.c").click()
        expect(page.get_by_text("Send a password without TLS")).to_be_visible()
        assert not is_too_wide(page)
        page.locator("input[name=owner]").fill("ann")
        page.locator("input[name=due_on]").fill("2099-01-31")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#main").get_by_text("The gap has an owner and a day.")).to_be_visible()
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(f"{plane}/compliance?verdict=not+met")
        expect(page.get_by_text("ann, 2099-01-31")).to_be_visible()
        assert not is_too_wide(page)
    finally:
        run_code(REMOVE)
