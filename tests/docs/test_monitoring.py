"""docs/monitoring.md: every name in it is one that `/metrics` tells, and every family is in it."""

from __future__ import annotations

import re

import pytest
import yaml
from django.utils import timezone

from apps.platform.jobs.models import JobTally
from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes.models import Node
from controlplane.env import BASE_DIR
from controlplane.metrics_collector import PlaneCollector
from controlplane.request_metrics import get_counters

TEXT = (BASE_DIR / "docs/monitoring.md").read_text()
SUFFIXES = ("_bucket", "_sum", "_count", "_total")
LABELS = {"le", "instance"}  # that no family names itself: of histograms, and of Prometheus


@pytest.fixture
def families(db):
    """{name: labels} of everything that is told, with a row of each kind to be told of."""
    gpu = {"index": 0, "busy": 0.1, "memory_free_bytes": 1, "memory_bytes": 2, "temperature": 50}
    load, cards = {"gpus": [gpu], "disk_free_bytes": 5}, [{"index": 0, "name": "x", "memory_bytes": 2}]
    Node.objects.create(name="n", host="h", queues=["cpu"], load=load, gpus=cards, heartbeat_at=timezone.now())
    liveness._last_beats.clear()
    liveness.record_beat("dispatcher")
    JobTally.objects.create(kind="noop", queue="cpu", state="failed", ended=1)
    told = get_counters()
    told.requests.labels("home", "GET", "2xx").inc()
    told.seconds.labels("home").observe(0.1)
    found = [*told.registry.collect(), *PlaneCollector().collect()]
    return {family.name: {label for sample in family.samples for label in sample.labels} for family in found}


def base(name: str, families) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.removesuffix(end) in families), name)


def rules() -> list[dict]:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
    return [rule for block in blocks for group in block.get("groups", []) for rule in group["rules"]]


def test_every_name_in_page_is_a_metric(families):
    named = set(re.findall(r"\bplane_[a-z_]+", TEXT))
    assert {name for name in named if name not in families and base(name, families) not in families} == set()


def test_every_metric_is_in_page(families):
    named = {base(name, families) for name in re.findall(r"\bplane_[a-z_]+", TEXT)}
    assert set(families) - named == set()


def test_rules_use_existing_metrics_and_labels(families):
    wrong = {}
    for rule in rules():
        names = {base(name, families) for name in re.findall(r"\bplane_[a-z_]+", rule["expr"])}
        used = set(re.findall(r"(\w+)=\"", rule["expr"]))
        used |= {label for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(", ")}
        used |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        labels = LABELS | {"section"}.union(*(families.get(name, ()) for name in names))
        if not names or names - set(families) or used - labels:
            wrong[rule["alert"]] = (names - set(families), used - labels)
    assert wrong == {}


def test_rules_are_all_there():
    assert len(rules()) >= 15
    assert len({rule["alert"] for rule in rules()}) == len(rules())
