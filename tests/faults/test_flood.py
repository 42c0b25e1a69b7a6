"""Ten times the rate of observations that the plane is made for, and its web processes killed in the middle.

Every batch is sent until it is taken, as a sender does: nothing is lost, nothing counts twice, and what is refused
meanwhile is refused clearly.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx

SETTINGS = {"WEB_WORKERS": "2", "REQUEST_SECONDS": "3"}  # so short that batches which wait for others are refused
SENDERS, BATCHES, ROWS = 20, 2, 1_000
PATIENCE = 240.0  # seconds, of a busy machine
SEED = """
import json
from datetime import timedelta
from django.utils import timezone
from apps.core.canonical import sha256_hex
from apps.ml.observations.models import ObservationSource
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.accounts.models import ApiToken, Project, User
project = Project.objects.get(slug="demo")
model = Model.objects.create(project=project, name="press", versions_count=1)
ModelVersion.objects.create(model=model, number=1, digest="1" * 64, document="{}", task="", target="")
ObservationSource.objects.create(project=project, name="live", task="classification", created_by="test")
ApiToken.objects.create(project=project, user=User.objects.get(username="engineer"), name="flood", prefix="dso_",
    digest=sha256_hex("dso_flood"), expires_at=timezone.now() + timedelta(days=1), scopes=["observations:write"])
print(json.dumps(True))
"""
COUNTS = """
import json
from django.db.models import Sum
from apps.ml.observations.models import HourFigures, Label, Landing, Prediction
figures = HourFigures.objects.aggregate(*[Sum(name) for name in ("predictions", "labelled", "correct")])
print(json.dumps([*figures.values(), Prediction.objects.count(), Label.objects.count(),
    Landing.objects.aggregate(rows=Sum("rows"))["rows"]]))
"""


def build_bodies(sender: int) -> list[tuple[str, str]]:
    """Batches of predictions, each with its labels behind it; all of one source, which is the lock."""
    at = datetime.now(UTC) - timedelta(minutes=1)
    bodies = []
    for batch in range(BATCHES):
        keys = [f"{sender}-{batch}-{number}" for number in range(ROWS)]
        facts = {"at": at.isoformat(), "model": "press", "version": 1, "answer": "up", "features": {"x": 1.5}}
        bodies.append(("predictions", json.dumps({"source": "live", "rows": [{"id": key, **facts} for key in keys]})))
        labels = [{"id": key, "at": at.isoformat(), "label": "up"} for key in keys]
        bodies.append(("labels", json.dumps({"source": "live", "rows": labels})))
    return bodies


def send(address: str, sender: int) -> list[tuple[int, str, str]]:
    """Send every batch until it is taken; what refused it: (status, Retry-After, code)."""
    refusals = []
    headers = {"Authorization": "Bearer dso_flood", "Content-Type": "application/json"}
    deadline = time.monotonic() + PATIENCE
    with httpx.Client(base_url=f"{address}/api/v1/projects/demo/observations", headers=headers, timeout=30) as client:
        for name, body in build_bodies(sender):
            while True:
                try:
                    answer = client.post(f"/{name}", content=body)
                except httpx.TransportError:  # its process was killed: taken or not
                    answer = None
                if answer is not None and answer.status_code == 200:
                    break
                if answer is not None:
                    code = answer.json()["error"]["code"]
                    refusals.append((answer.status_code, answer.headers.get("Retry-After", ""), code))
                assert time.monotonic() < deadline, refusals[-3:]
                time.sleep(0.2)
    return refusals


def test_nothing_of_a_flood_is_lost_or_counted_twice(shared):
    assert shared.ask(SEED)
    address = shared.facts()["address"].rstrip("/")
    with ThreadPoolExecutor(SENDERS) as pool:
        sent = [pool.submit(send, address, sender) for sender in range(SENDERS)]
        time.sleep(1.0)
        for server in shared.part("web").children():
            server.kill()
            time.sleep(1.0)
        refusals = [refusal for each in sent for refusal in each.result()]
    unclear = [each for each in refusals if each[0] not in (429, 503) or not each[1].isdecimal()]
    assert unclear == []
    rows = SENDERS * BATCHES * ROWS
    assert shared.ask(COUNTS) == [rows, rows, rows, rows, rows, 2 * rows]
