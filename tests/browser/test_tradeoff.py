"""The trade-off of a quantize job in a real browser: what to ship, the chart by keyboard, and the next step."""

import json

from playwright.sync_api import expect

from tests.apps.ml.experiments.tradeoff_document import build_tradeoff
from tests.browser.conftest import list_wide_pages

KEEP = """
import json, tempfile
from pathlib import Path
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import Experiment, Run
from apps.platform.accounts.models import Project
from apps.platform.artifacts.services import store_file
from apps.platform.jobs.models import Job
project = Project.objects.get(slug="demo")
experiment, _ = Experiment.objects.get_or_create(project=project, number=0, defaults=dict(name="Default"))
facts = dict(spec="{{}}", spec_digest="0" * 64, queue="cpu", time_limit_seconds=60, grant={{}}, state="succeeded")
job = Job.objects.create(project=project, kind="quantize", **facts)
facts = dict(project=project, experiment=experiment, name="quantized", job=job, state="finished")
run = Run.objects.create(pk="7d" * 16, **facts)
path = Path(tempfile.mkdtemp(), "tradeoff.json")
path.write_text({document!r})
made = store_file(actor=build_plane_actor(PlaneRole.WORKER, host="test"), project=project, path=path)
run.artifacts.create(path="tradeoff/tradeoff.json", artifact=made, size=made.size, media_type="application/json")
for slot in ("model", "manifest", "figures"):
    job.outputs.create(slot=slot, artifact=made, name=slot, media_type="application/json")
print(job.pk)
"""


def test_which_form_to_ship(signed_in, plane, run_code):
    document = json.dumps(json.loads(build_tradeoff().model_dump_json(by_alias=True)))
    job = run_code(KEEP.format(document=document))
    page = signed_in("engineer")
    address = f"{plane}/p/demo/runs/{'7d' * 16}"
    page.goto(f"{plane}/p/demo/jobs/{job.split()[-1]}")
    page.get_by_role("link", name="Trade-off").click()
    expect(page.locator(".answer")).to_contain_text("Ship int8-static")
    page.wait_for_load_state()  # the form sends itself by a script

    spot = page.locator("#tradeoff .pt").nth(3)
    spot.focus()
    expect(spot.locator(".tip")).to_have_css("opacity", "1")
    assert spot.get_attribute("aria-label") == (
        "int8-static: median time of a call, ms 0.2, accuracy 0.969 (0.967 to 0.971)"
    )
    page.get_by_label("Cost", exact=True).select_option("size")
    expect(page.locator("#tradeoff .pt").first).to_have_attribute("aria-label", "fp32: size, MB 4, accuracy 0.97")
    assert page.locator("#frm").locator("xpath=../..").locator("tbody tr").first.inner_text().startswith("int8-static")

    page.get_by_role("link", name="Register", exact=True).click()
    expect(page.locator('[name="inputs/int8"]')).not_to_have_value("")
    assert list_wide_pages(page, [f"{address}/trade-off"]) == []
