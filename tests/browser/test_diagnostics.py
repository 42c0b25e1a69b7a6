"""The diagnostics of a run in a real browser: charts by keyboard, pictures, marked texts, and no page too wide."""

import base64
import struct
import zlib

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages

KEEP = """
import numpy as np, tempfile
from pathlib import Path
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import Experiment, Run
from apps.platform.accounts.models import Project
from apps.platform.artifacts.services import store_file
from deepseek.diagnostics.build import build_class_diagnostics, build_value_diagnostics
from deepseek.diagnostics.samples import serialize_samples
project = Project.objects.get(slug="demo")
experiment, _ = Experiment.objects.get_or_create(project=project, number=0, defaults=dict(name="Default"))
draw = np.random.default_rng(0)
shares = draw.dirichlet([1, 1, 1], 200).astype(np.float32)
values = draw.normal(size=(1500, 1)).astype(np.float32)
image = dict(image="{image}", target="cat", prediction="dog", share=0.9)
text = dict(text="At Apple", target=[dict(start=3, end=8, label="ORG")], prediction=[dict(start=0, end=2, label="ORG")])
documents = [
    (build_class_diagnostics(shares, np.arange(200) % 3, ["a", "b", "c"], "y").to_json(), "image", image),
    (build_value_diagnostics("forecast", values, values[:, 0] ** 3, "y", 0).to_json(), "text", text),
]
worker = build_plane_actor(PlaneRole.WORKER, host="test")
for place, (diagnostics, kind, sample) in enumerate(documents):
    run = Run.objects.create(pk="ef"[place] * 32, project=project, experiment=experiment, name=f"diagnosed {{place}}")
    for name, document in (("diagnostics", diagnostics), ("samples", serialize_samples(kind, [sample]))):
        path = Path(tempfile.mkdtemp(), name)
        path.write_text(document)
        made = store_file(actor=worker, project=project, path=path)
        facts = dict(artifact=made, size=made.size, media_type="application/json")
        run.artifacts.create(path=f"{{name}}/{{name}}.json", **facts)
"""


def build_png() -> str:
    """A picture of one pixel as a data address."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\x7f")) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_the_diagnostics_of_two_runs(signed_in, plane, run_code):
    run_code(KEEP.format(image=build_png()))
    page = signed_in("engineer")
    classes, values = (f"{plane}/p/demo/runs/{letter * 32}" for letter in "ef")

    page.goto(classes)
    page.get_by_role("link", name="Diagnostics").first.click()
    expect(page.get_by_role("heading", name="ROC curve")).to_be_visible()
    assert page.locator(".cm td.hit").count() == 3
    picture = page.locator(".shots img")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.shots img').naturalWidth === 1")

    page.goto(f"{values}/diagnostics")
    band = page.locator("#predicted .pt").first
    band.focus()
    expect(band.locator(".tip")).to_have_css("opacity", "1")
    assert "rows, predicted median" in band.get_attribute("aria-label")
    assert page.locator("mark.failed").inner_text().startswith("AtORG")
    with page.expect_download() as download:
        page.locator("#predicted").get_by_role("link", name="CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 1001

    assert list_wide_pages(page, [f"{classes}/diagnostics", f"{values}/diagnostics"]) == []
