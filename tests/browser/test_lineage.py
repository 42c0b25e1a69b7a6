"""The graph of lineage and the origin of a row in a real browser: find, focus, fold, and from a cell to its source."""

import re
import struct

import pytest
from playwright.sync_api import expect

SEED = """
import struct
from apps.platform.accounts.models import Project
from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.services import add_version_from_job_output
from apps.data.datasets.versions.registration import add_version, ensure_dataset
from apps.platform.jobs.models import Job, JobInput
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
project, worker = Project.objects.get(slug="demo"), build_plane_actor(PlaneRole.WORKER, host="test")
def held(data):
    with get_store().open_staging() as staging:
        staging.write(data)
        digest, size = staging.publish()
    artifact = Artifact.objects.get_or_create(digest=digest, defaults=dict(size=size))[0]
    Holding.objects.get_or_create(project=project, artifact=artifact, defaults=dict(name="it"))
    return artifact
raw = held(b"day,close\\n2026-01-02,57.3\\n2026-01-03,\\n2026-01-04,58.1\\n")
source, _ = add_version(actor=worker, dataset=ensure_dataset(actor=worker, project=project, name="traced"),
    files=[("table.csv", raw, "text/csv")], media_type="text/csv", rows=3, columns=[], script="upload", params={})
facts = dict(spec="{}", spec_digest="0" * 64, queue="cpu", time_limit_seconds=60, grant={}, requester="engineer")
job = Job.objects.create(project=project, kind="clean", state="succeeded", **facts)
JobInput.objects.create(job=job, slot="table", artifact=raw)
meta = dict(rows=2, origins="runs")
outputs = [("table", held(b"PAR1 traced"), "table.parquet", PARQUET, meta),
           ("origins", held(struct.pack("<QQQQ", 0, 0, 1, 2)), "origins.bin", "application/vnd.plane.row-origins", {})]
add_version_from_job_output(actor=worker, project=project, dataset_name="traced-clean", outputs=outputs, job=job,
                 script="test", params={})
here = End("job", str(job.pk), label=str(job))
files = [End("artifact", f"{n:064x}", label=f"part-{n}.bin") for n in range(900)]
record_edges(actor=worker, project=project, edges=[EdgeSpec.between(here, one, "part") for one in files[:300]])
for start in (300, 600):
    pairs = zip(files[start - 300:start], files[start:start + 300])
    record_edges(actor=worker, project=project, edges=[EdgeSpec.between(a, b, "part") for a, b in pairs])
print("JOB", job.pk)
"""


@pytest.fixture(scope="module")
def traced(plane, run_code):
    """The number of a job that made 900 files, and cleaned `traced` into `traced-clean`."""
    return int(re.search(r"JOB (\d+)", run_code(SEED))[1])


def test_a_node_of_nine_hundred_is_found_focused_and_folded(signed_in, plane, traced):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{plane}/p/demo/jobs/{traced}/lineage")
    expect(page.get_by_text("300 × Artifact").first).to_be_visible()
    assert page.locator("svg.dag g.node").count() < 20
    page.get_by_role("searchbox", name="Find in the graph").fill("part-777.bin")
    page.get_by_role("searchbox", name="Find in the graph").press("Enter")
    expect(page.get_by_text("1 found:")).to_be_visible()
    found = page.locator("svg.dag #found")
    expect(found).to_be_in_viewport()
    expect(found).to_contain_text("part-777.bin")
    page.get_by_role("status").get_by_role("link", name="part-777.bin").click()
    expect(page.get_by_role("link", name="Back to this object")).to_be_visible()
    expect(page).to_have_url(re.compile("focus="))
    page.get_by_role("link", name="Back to this object").click()
    page.goto(f"{plane}/p/demo/jobs/{traced}/lineage?focus=artifact:{777:064x}&direction=up")
    fold = page.get_by_role("link", name="Collapse what lies beyond part-477.bin")
    before = page.locator("svg.dag g.node").count()
    fold.click()
    expect(page.get_by_role("link", name="Expand what lies beyond part-477.bin")).to_be_visible()
    assert page.locator("svg.dag g.node").count() < before


def test_the_graph_is_saved_whole(signed_in, plane, traced, tmp_path):
    """As a picture, with what is scrolled out of sight, and its edges as a file."""
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/{traced}/lineage")
    with page.expect_download() as taken:
        page.get_by_role("button", name="PNG").click()
    assert taken.value.suggested_filename == "lineage-graph.png"
    taken.value.save_as(tmp_path / "graph.png")
    data = (tmp_path / "graph.png").read_bytes()
    wide, tall = struct.unpack(">II", data[16:24])
    box = page.locator("svg.dag").bounding_box()
    assert (wide, tall) == (pytest.approx(box["width"] * 2, abs=3), pytest.approx((box["height"] + 32) * 2, abs=3))
    assert len(data) > 10_000  # boxes, names and lines; an empty ground is smaller by far
    page.get_by_role("button", name="Zoom out").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="PNG").click()
    taken.value.save_as(tmp_path / "smaller.png")
    assert struct.unpack(">I", (tmp_path / "smaller.png").read_bytes()[16:20])[0] == pytest.approx(wide * 0.8, abs=5)
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    taken.value.save_as(tmp_path / "edges.csv")
    assert len((tmp_path / "edges.csv").read_text().splitlines()) > 900


def test_on_a_phone_the_graph_is_a_list(signed_in, plane, traced):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{plane}/p/demo/jobs/{traced}/lineage?find=part-7")
    expect(page.locator("svg.dag")).to_be_hidden()
    expect(page.get_by_role("heading", name="Lineage graph")).to_be_visible()
    expect(page.get_by_role("heading", name="As a list")).to_have_count(0)
    expect(page.get_by_role("button", name="Apply")).to_have_count(0)
    expect(page.get_by_role("button", name="Show", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Depth").select_option("1")
    expect(page).to_have_url(re.compile(r"depth=1.*find=part-7.*#all$"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_row_leads_to_its_source_and_back(signed_in, plane, traced):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/data/traced-clean/1/origin")
    page.get_by_label("Row", exact=True).fill("2")
    page.get_by_role("button", name="Look up").click()
    row = page.get_by_role("row").filter(has_text="traced v1")
    expect(row).to_contain_text("58.1")
    row.get_by_role("link", name="traced v1").click()
    expect(page).to_have_url(re.compile(r"/data/traced/1/origin\?row=3$"))
    expect(page.get_by_role("row").filter(has_text="traced-clean v1")).to_be_visible()
    page.goto(f"{plane}/p/demo/data/traced/1/preview")
    page.get_by_role("link", name="3", exact=True).first.click()
    expect(page.get_by_role("heading", name="Row provenance")).to_be_visible()


def test_fit_shows_the_last_column(signed_in, plane, traced):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 760, "height": 900})
    page.goto(f"{plane}/p/demo/jobs/{traced}/lineage?focus=artifact:{777:064x}&direction=up")
    graph = page.locator("[data-graph]")
    for _larger in range(3):
        page.get_by_role("button", name="Zoom in").click()
    assert graph.evaluate("it => it.scrollWidth - it.clientWidth") > 0
    page.get_by_role("button", name="Fit").click()
    assert graph.evaluate("it => it.scrollWidth - it.clientWidth") <= 0
