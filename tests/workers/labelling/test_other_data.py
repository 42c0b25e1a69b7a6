"""Images and rows, classified on a real Label Studio."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from apps.ml.labelling import services
from tests.workers.labelling.studio import skip_without_studio

pytest.importorskip("label_studio_sdk")
skip_without_studio()
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("label studio")]


def build_images(count: int) -> dict[str, bytes]:
    """Scanned digits as PNG."""
    files = {}
    for place, digit in enumerate(load_digits().images[:count]):
        file = io.BytesIO()
        Image.fromarray((digit * 15).astype(np.uint8)).resize((32, 32)).save(file, "PNG")
        files[f"digit-{place}.png"] = file.getvalue()
    return files


def build_rows(count: int) -> bytes:
    wine = load_wine()
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(wine.feature_names[:3])
    writer.writerows(wine.data[:count, :3])
    return file.getvalue().encode()


def classify(client, labelling, name: str, chosen: str) -> None:
    for row in labelling.groups.get().remote_tasks.all():
        choice = {"id": "c", "from_name": "class", "to_name": name, "type": "choices", "value": {"choices": [chosen]}}
        client.annotations.create(id=row.remote_id, result=[choice], lead_time=1.0)


def test_images_and_rows_become_versions_with_their_classes(client, create, drive, add_dataset, actor):
    add_dataset("digits", build_images(3))
    add_dataset("wines", {"wines.csv": build_rows(3)})
    images = create("digits", {"data": "image", "classes": ["even", "odd"]}, source="digits:v1")
    rows = create("wines", {"data": "row", "classes": ["red", "white"]}, source="wines:v1")
    there = [list(client.tasks.list(project=one.groups.get().remote_project)) for one in (images, rows)]
    assert all(row.data["image"].startswith("data:image/png;base64,") for row in there[0])
    assert there[1][0].data["text"].splitlines()[0] == "alcohol: 14.23"
    classify(client, images, "image", "even")
    classify(client, rows, "text", "red")
    drive()
    for one in (images, rows):
        one.refresh_from_db()
        services.request_result(actor=actor, labelling=one, dataset=f"{one.name}-labelled")
    drive()
    paths = {}
    for one in (images, rows):
        one.refresh_from_db()
        assert (one.progress["tasks"], one.failure) == ({"agreed": 3}, {})
        paths[one.name] = sorted(one.result.files.values_list("path", flat=True))
    assert paths == {
        "digits": ["annotations.parquet", "digit-0.png", "digit-1.png", "digit-2.png", "images.csv"],
        "wines": ["annotations.parquet", "texts.jsonl"],
    }
    job = services.train_on_result(actor=actor, labelling=images)
    trained_on = [Path(slot).name for slot in job.inputs.order_by("slot").values_list("slot", flat=True)]
    assert (job.kind, trained_on) == ("train_image", ["digit-0.png", "digit-1.png", "digit-2.png", "images.csv"])
