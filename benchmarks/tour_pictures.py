"""Take the pictures of docs/tour.md and README.md anew, of a plane that holds the demo and what tour_rows.py adds.

    DEMO_EXIT=1 PLANE_HOME=HOME make demo
    PLANE_HOME=HOME python benchmarks/tour_pictures.py [--only home,lineage] [--out docs/images]

Starts the plane of this home, adds the rows, and opens each page in Chromium at 1440 by 900, in English and light, as
somebody who works with it. A picture has a palette of at most 256 colours. Look at each before it is committed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread that makes sessions
os.environ["SECOND_FACTOR_ROLES"] = ""  # the sessions are made without a log-in

MAX_BYTES = 150_000
PATIENCE = 600_000  # ms: of jobs and probes, on a busy machine


@dataclass(frozen=True)
class Picture:
    """`look_at`: the element that is scrolled to the top; `prepare` does on the page what a person would do first."""

    name: str
    person: str
    path: str
    look_at: str = ""
    prepare: Callable[[Any], None] | None = None


def list_pictures() -> Iterator[Picture]:
    """The pages, with the objects of the demo in their addresses."""
    from apps.fleet.monitoring.models import Monitor
    from apps.fleet.rollouts.models import Rollout
    from apps.ml.experiments.models import Run
    from apps.ml.pipelines.models import Pipeline
    from apps.ml.registry.models import Model
    from apps.platform.approvals.models import Approval
    from apps.platform.jobs.models import Job
    from controlplane.demo.steps import CLASSIFIER, FORECASTER

    data, models = f"/p/demo/data/{CLASSIFIER.cleaned}", "/p/demo/models"
    version = Model.objects.get(name=FORECASTER.model).versions.filter(aliases__name="production").get()
    forecaster = f"{models}/{FORECASTER.model}/{version.number}"
    trainings = Run.objects.filter(kind="train", name__startswith=FORECASTER.model)
    rates = Run.objects.filter(name__startswith="learning rate")
    runs = [run.pk for run in (rates if rates.count() > 1 else trainings).order_by("name")[:4]]
    promotion = Approval.objects.filter(subject_type="promotion").order_by("pk").first()
    training = Job.objects.filter(kind="train").order_by("pk").first()
    rollout = Rollout.objects.order_by("pk").last()
    pipeline = Pipeline.objects.order_by("pk").first()
    monitor = Monitor.objects.order_by("pk").first()
    table = Job.objects.filter(kind="clean", name="sensors").order_by("pk").last()

    yield Picture("home", "engineer", "/")
    yield Picture("dataset-version", "engineer", f"{data}/1")
    yield Picture("dataset-rows", "engineer", f"{data}/1/preview")
    yield Picture("samples-images", "engineer", "/p/demo/data/digits/1/samples", prepare=wait_for_images)
    if table:
        yield Picture("partitions", "engineer", f"/p/demo/jobs/{table.pk}", prepare=wait_for_partitions)
    yield Picture("train-form", "engineer", "/p/demo/jobs/new/train", prepare=choose_table)
    if training:
        yield Picture("job", "engineer", f"/p/demo/jobs/{training.pk}")
    if pipeline:
        yield Picture("pipeline", "engineer", f"/p/demo/pipelines/{pipeline.pk}")
    yield Picture("runs", "engineer", f"/p/demo/runs?selected={','.join(runs)}", prepare=wait_for_panels)
    yield Picture("compare", "engineer", f"/p/demo/runs/compare?ids={','.join(runs)}")
    yield Picture("model-card", "engineer", f"{models}/{CLASSIFIER.model}")
    yield Picture("model-version", "engineer", forecaster)
    yield Picture("baselines", "engineer", f"{models}/{FORECASTER.model}/baselines")
    if promotion:
        yield Picture("approval", "approver", f"/p/demo/approvals/{promotion.pk}")
    if rollout:
        yield Picture("rollout", "engineer", f"/p/demo/rollouts/{rollout.pk}")
    if monitor:
        yield Picture("monitoring", "engineer", f"/p/demo/monitors/{monitor.pk}")
    yield Picture("lineage", "engineer", f"{forecaster}/lineage")
    yield Picture("nodes", "engineer", "/nodes")
    yield Picture("audit", "auditor", "/audit")
    yield Picture("compliance", "auditor", "/compliance", prepare=run_probes)


def wait_until(page: Any, expression: str) -> None:
    """Ask the page again and again: its policy takes no script that is text, which Playwright's own waiting sends."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression) and time.monotonic() < deadline:
        page.wait_for_timeout(300)


def wait_for_partitions(page: Any) -> None:
    """Until some partitions are done."""
    page.wait_for_selector("[data-partitions]:not([hidden])", timeout=PATIENCE)
    done = "document.querySelector('[data-bind=\"progress.partitions.done\"]')"
    wait_until(page, f"Number({done}.textContent) >= 2")


def wait_for_images(page: Any) -> None:
    """Until those in sight are there."""
    first = "[...document.querySelectorAll('.samples img')].slice(0, 12)"
    wait_until(page, f"{first}.every(image => image.complete && image.naturalWidth)")


def choose_table(page: Any) -> None:
    """The newest version of the classifier's table, and what is learned from it."""
    select = page.locator("select").filter(has=page.locator("option", has_text="breast-cancer-clean")).first
    select.select_option(label=select.locator("option", has_text="breast-cancer-clean").first.inner_text())
    page.get_by_label("Task").first.select_option("classification")
    page.wait_for_timeout(3000)


def wait_for_panels(page: Any) -> None:
    page.wait_for_selector("#run-panels figure", timeout=PATIENCE)


def run_probes(page: Any) -> None:
    """Where nobody has run the probes yet: run them, and wait for their end."""
    if page.get_by_text("No evidence yet").count():
        page.get_by_role("button", name="Run now").click()
    while not page.locator("[data-clause]").count():
        page.wait_for_timeout(3000)
        page.reload()


def create_sessions(names: set[str]) -> dict[str, str]:
    """{person: key of a session}, without a password."""
    from django.test import Client

    from apps.platform.accounts.models import User
    from tests.walking import BACKEND

    User.objects.filter(username__in=names).update(must_change_password=False)
    sessions = {}
    for name in names:
        client = Client(SERVER_NAME="127.0.0.1")
        client.force_login(User.objects.get(username=name), backend=BACKEND)
        sessions[name] = client.cookies["sessionid"].value
    return sessions


def save_picture(png: bytes, path: Path) -> int:
    """With as many colours of a palette as fit into MAX_BYTES; its size in bytes."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        saved = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(saved, "PNG", optimize=True)
        if saved.tell() <= MAX_BYTES:
            break
    path.write_bytes(saved.getvalue())
    return saved.tell()


def take(base: str, pictures: list[Picture], folder: Path, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    sessions = create_sessions({picture.person for picture in pictures})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for picture in pictures:
            context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
            context.add_cookies([{"name": "sessionid", "value": sessions[picture.person], "url": base}])
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            answer = page.goto(base + picture.path, wait_until="load")
            if answer is None or answer.status != 200:
                print(f"{picture.name}: {answer and answer.status} {picture.path}", file=sys.stderr)
                context.close()
                continue
            if picture.prepare:
                picture.prepare(page)
            if picture.look_at:
                page.locator(picture.look_at).first.evaluate("element => element.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(500)
            size = save_picture(page.screenshot(), folder / f"{picture.name}.png")
            print(f"{picture.name:16} {size / 1e3:6.1f} kB  {picture.path}", flush=True)
            page.close()
            context.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of pictures, with commas")
    parser.add_argument("--as-is", action="store_true", help="of a running plane, as it is: add nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    chosen = parser.parse_args()

    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from benchmarks.paint import CHROMIUM, plane
    from benchmarks.tour_rows import add_rows, clean_parts

    names = set(filter(None, chosen.only.split(",")))
    if chosen.as_is:
        base = json.loads((Path(settings.ENV.home) / "plane.json").read_text())["address"]
        take(base, [each for each in list_pictures() if not names or each.name in names], chosen.out, CHROMIUM)
        return
    call_command("migrate", verbosity=0)  # the demo may be older than the code
    with plane(Path(settings.ENV.home)) as base:
        add_rows(base)
        if not names or "partitions" in names:
            clean_parts(base)
        pictures = [picture for picture in list_pictures() if not names or picture.name in names]
        take(base, pictures, chosen.out, CHROMIUM)


if __name__ == "__main__":
    main()
