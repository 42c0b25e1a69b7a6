"""What the pictures of the tour need beside the demo: images, a table in parts, trainings, a monitor.

Over REST and by the commands of an operator, as people do it. Idempotent. Used by tour_pictures.py.
"""

from __future__ import annotations

import io
import random
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from django.core.management import call_command

from controlplane.demo.steps import CLASSIFIER
from controlplane.rest_client import ApiError, PlaneClient

PROJECT = "demo"
UPDATE_MODEL = "/api/2.0/mlflow/registered-models/update"
SCOPES = "read,data:write,jobs:write,runs:write,models:write,observations:write"
PARTS, ROWS_OF_PART = 8, 150_000
LEARNING_RATES = (0.0003, 0.001, 0.01)
SOURCE, HOURS, ROWS_OF_HOUR, GOOD_HOURS = "clinic", 48, 40, 36
JOB_SECONDS = 1800.0
DATASET_CARD = """## Source

Fine-needle aspirates of breast masses, Wisconsin 1995: 569 rows, 30 measures of cell nuclei.

| column | meaning |
|---|---|
| `mean_area` | mean area of the nuclei, in pixels |
| `diagnosis` | `malignant` or `benign`, by biopsy |
"""
MODEL_CARD = """Tells malignant from benign masses by 30 measures of cell nuclei.

**Not for diagnosis without a pathologist.** Trained on one hospital's rows; other microscopes may differ.
"""


def add_rows(address: str) -> None:
    """Whatever is missing of the above, on the plane at this address."""
    plane = PlaneClient(address, create_token("engineer", SCOPES), PROJECT, patience=900)
    with tempfile.TemporaryDirectory() as folder:
        ingest(write_images(Path(folder, "digits")), "digits", "--images")
        ingest(write_parts(Path(folder, "sensors")), "sensors")
    describe(plane)
    train(plane)
    observe(plane)


def create_token(name: str, scopes: str) -> str:
    printed = io.StringIO()
    call_command("create_token", name, "--project", PROJECT, "--scopes", scopes, stdout=printed)
    return printed.getvalue().strip()


def ingest(folder: Path, dataset: str, *options: str) -> None:
    arguments = [str(folder), "--project", PROJECT, "--dataset", dataset, "--actor", "engineer"]
    call_command("ingest", *arguments, *options, stdout=io.StringIO())


def write_images(folder: Path) -> Path:
    """96 handwritten digits of 8 by 8 pixels (package scikit-learn), enlarged, in folders by part and class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images[:96], digits.target[:96], strict=True)):
        place = folder / ("test" if number % 6 == 5 else "train") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((255 - pixels * 15).astype("uint8"))
        image.resize((128, 128), Image.Resampling.BICUBIC).save(place / f"{number:04}.png")
    return folder


def write_parts(folder: Path) -> Path:
    """Random walks of three sensors, minute by minute, with gaps and spikes."""
    folder.mkdir()
    rng = np.random.default_rng(7)
    for part in range(PARTS):
        start = 1_750_000_000_000_000 + part * ROWS_OF_PART * 60_000_000
        times = start + 60_000_000 * np.arange(ROWS_OF_PART)
        walks = {
            f"sensor_{number}": pa.array(
                np.cumsum(rng.normal(size=ROWS_OF_PART)) + 400 * (rng.random(ROWS_OF_PART) < 0.0005),
                mask=rng.random(ROWS_OF_PART) < 0.02,
            )
            for number in range(3)
        }
        table = pa.table({"time": pa.array(times, pa.timestamp("us")), **walks})
        pq.write_table(table, folder / f"month-{part + 1}.parquet")
    return folder


def describe(plane: PlaneClient) -> None:
    card = {"description": "Measures of cell nuclei, with the biopsy", "keywords": ["medicine"], "card": DATASET_CARD}
    plane.call("PATCH", f"/datasets/{CLASSIFIER.cleaned}", card)
    # A model's card is its description, and MLflow's call is the one that changes it.
    plane.call("PATCH", UPDATE_MODEL, {"name": CLASSIFIER.model, "description": MODEL_CARD})


def train(plane: PlaneClient) -> None:
    """Three trainings that differ in the learning rate, and a panel over their losses."""
    digest = plane.get(f"/datasets/{CLASSIFIER.cleaned}/versions/1")["files"][0]["digest"]
    jobs = [
        plane.post(
            "/jobs",
            {
                "kind": "train",
                "name": f"learning rate {rate:g}",
                "spec": {**CLASSIFIER.params["train"], "hidden": [64, 64], "learning_rate": rate, "epochs": 40},
                "inputs": {"table": {"digest": digest}},
            },
            Idempotency_Key=f"tour-{rate:g}",
        )
        for rate in LEARNING_RATES
    ]
    for job in jobs:
        plane.wait(job["id"], seconds=JOB_SECONDS)
    if not plane.get("/runs/panels"):
        plane.post("/runs/panels", {"metrics": ["val_loss"], "title": "Validation loss", "axis": "step"})


def observe(plane: PlaneClient) -> None:
    """Two days of answers of the classifier, which get worse in the last hours, and a monitor that saw all of them."""
    from apps.fleet.monitoring.models import Monitor

    with suppress(ApiError):  # there is one
        plane.post("/observations/sources", {"name": SOURCE, "task": "classification"})
    number = plane.get(f"/models/{CLASSIFIER.model}/aliases/production")["number"]
    if plane.get("/monitors")["items"]:
        return
    now, rng = datetime.now(UTC).replace(minute=0, second=0, microsecond=0), random.Random(7)
    answers, labels = [], []
    for hour in range(HOURS):
        accuracy = 0.96 if hour < GOOD_HOURS else 0.82
        for place in range(ROWS_OF_HOUR):
            at = (now - timedelta(hours=HOURS - hour) + timedelta(minutes=place)).isoformat()
            label = "benign" if rng.random() < 0.63 else "malignant"
            answer = label if rng.random() < accuracy else {"benign": "malignant"}.get(label, "benign")
            row = {"id": f"case-{hour}-{place}", "at": at}
            labels.append({**row, "label": label})
            answered = {"answer": answer, "latency_ms": round(rng.gauss(2, 0.3), 2)}
            answers.append({**row, "model": CLASSIFIER.model, "version": number, **answered})
    plane.post("/observations/predictions", {"source": SOURCE, "rows": answers})
    plane.post("/observations/labels", {"source": SOURCE, "rows": labels})
    body = {"name": "clinic, accuracy", "model": CLASSIFIER.model, "source": SOURCE, "metric": "accuracy"}
    monitor = plane.post("/monitors", {**body, "reference": 0.95, "window_hours": 6, "min_count": 100})
    # A monitor looks at what comes after it was created; this one is made to have been there for two days.
    Monitor.objects.filter(pk=monitor["id"]).update(evaluated_until=now - timedelta(hours=HOURS - 6), next_at=now)


def clean_parts(address: str) -> None:
    """Queue the cleaning of the table in parts, by two processes: the picture shows it on its way."""
    plane = PlaneClient(address, create_token("engineer", SCOPES), PROJECT, patience=900)
    digest = plane.get("/datasets/sensors/versions/1")["digest"]
    steps = [
        {"kind": "outliers", "columns": ["sensor_0", "sensor_1", "sensor_2"], "action": "cap"},
        {"kind": "fill_forward", "columns": ["sensor_0", "sensor_1", "sensor_2"], "limit": 10},
    ]
    body = {"kind": "clean", "name": "sensors", "spec": {"steps": steps, "processes": 2}, "needs": {"cpus": 2}}
    plane.post("/jobs", {**body, "inputs": {"table": {"digest": digest}}})
