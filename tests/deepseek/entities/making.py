"""A few texts with names, and a training on them that takes a second."""

import json

from deepseek.entities.run import run
from deepseek.entities.spec import EntitiesSpec
from deepseek.job import Silent

PERSONS, ORGS = ("Ada", "Grace", "Alan", "李明", "王芳"), ("Acme", "Initech", "中科院")
QUICK = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "buckets": 256,
    "epochs": 4,
    "max_length": 16,
    "checkpoint_every": 3,
    "schedule": {"first_batch": 8, "last_batch": 16, "warmup_steps": 5, "max_lr": 0.02},
}


def draw_texts(count=60):
    """Texts as JSON lines have them; no two are the same."""
    records = []
    for number in range(count):
        person, org = PERSONS[number % len(PERSONS)], ORGS[number % len(ORGS)]
        text = f"No {number}: {person} left {org}."
        start, at = text.index(person), text.index(org)
        spans = [{"start": start, "end": start + len(person), "label": "PERSON"}]
        spans.append({"start": at, "end": at + len(org), "label": "ORG"})
        records.append({"text": text, "spans": spans})
    return records


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def train_to(out, texts, report=None, weights=None, **fields):
    """Train on the file of texts into the folder `out`."""
    inputs = {"texts": texts} | ({"weights": weights} if weights else {})
    return run(EntitiesSpec(**QUICK | fields), inputs=inputs, out=out, report=report or Silent())
