"""A sweep by its pages: begun with the form of a job, followed until it ends, pruned trials with their reasons."""

from playwright.sync_api import expect

FILL = """
from apps.ml.sweeps.models import Sweep, SweepTrial
from django.db.models.functions import Now
sweep = Sweep.objects.get(pk={sweep})
reason = {{"message": "At step 4.", "msgid": "", "params": {{}}}}
SweepTrial.objects.filter(sweep=sweep, number=1).update(state="pruned", end_reason=reason, step=4)
print("filled")
"""


def test_a_sweep_is_begun_and_followed(page, watch, sign_in_as, plane, run_code):
    sign_in_as(watch(page, answers=(422,)), "engineer")
    page.goto(f"{plane}/p/demo/sweeps/new/noop")
    page.get_by_label("Name", exact=False).first.fill("by hand")
    page.locator("[name='/sweep/space/0/name']").fill("/value")
    page.locator("[name='/sweep/space/0/low']").fill("2")
    page.locator("[name='/sweep/space/0/high']").fill("1")
    page.locator("[name='/sweep/metric']").fill("value")
    page.locator("[name='/sweep/trials']").fill("5")
    page.get_by_role("button", name="Begin the sweep").click()
    expect(page.locator(".err:visible").first).to_contain_text("not below the highest")
    page.locator("[name='/sweep/space/0/low']").fill("0.5")
    page.get_by_role("button", name="Begin the sweep").click()
    expect(page.locator("[data-part=state]")).to_contain_text("Succeeded")
    expect(page.locator("[data-trial]")).to_have_count(5)
    expect(page.locator("#history svg").first).to_be_visible()
    expect(page.locator("#importance")).to_contain_text("/value")
    run_code(FILL.format(sweep=page.url.rpartition("/")[2]))
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    expect(page.locator("[data-trial='1']")).to_contain_text("At step 4.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{plane}/p/demo/runs")
    page.get_by_role("link", name="nested runs").first.click()
    expect(page.locator("th.nested").first).to_be_visible()
