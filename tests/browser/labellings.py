"""A labelling project with a disputed task, as two groups left it: run in the plane's home. No driver takes it."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from apps.data.datasets.services import add_files
from apps.ml.labelling import services
from apps.ml.labelling.models import Annotation, Annotator, AnnotatorGroup, LabellingProject, LabelServer, LabelTask
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.artifacts.services import store_file
from apps.platform.nodes.samples import get_database_now

LABELS = [{"value": "PERSON"}, {"value": "ORG"}]
SEMANTIC = {"level": "semantic", "labels": LABELS, "relations": [{"value": "works_for"}]}
FIELDS = [{"name": "risk", "choices": ["low", "high"]}]
RULES = [{"name": "marked", "condition": "count(PERSON) > 0"}]
DOMAIN = {**SEMANTIC, "level": "domain", "fields": FIELDS, "rules": RULES}
TEXT = "Adobe : https://www.adobe.com/\nSubmitted by Ian Boston"
AGREEMENT = {
    "tasks": 2,
    "equal": 1,
    "fleiss": 0.71,
    "labels": [{"label": "ORG", "f1": 0.6667, "both": 1}, {"label": "PERSON", "f1": 1.0, "both": 2}],
    "pairs": [{"annotators": ["A1", "A2"], "cohen": 0.7, "f1": 0.8}],
    "annotators": [{"annotator": "A1", "f1": 0.8}, {"annotator": "A2", "f1": 0.8}],
}


def build_span(words: str, label: str) -> dict[str, Any]:
    start = TEXT.index(words)
    return {"start": start, "end": start + len(words), "label": label}


PERSON, ORG = build_span("Ian Boston", "PERSON"), build_span("Adobe", "ORG")
BOTH = {"spans": [ORG, PERSON], "relations": [{"source": 1, "target": 0, "type": "works_for"}]}


def create_disputed_labelling() -> int:
    """At the level of relations: one task is agreed, one is disputed. Its id."""
    project, user = Project.objects.get(slug="demo"), User.objects.get(username="engineer")
    actor = build_actor_for_user(user, address="192.0.2.1", request_id="request-1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts.jsonl")
        path.write_text(json.dumps({"text": TEXT}) + "\n")
        stored = store_file(actor=actor, project=project, path=path)
    files = [("texts.jsonl", stored.digest, "")]
    source = add_files(actor=actor, project=project, dataset_name="credits", files=files)[0]
    for name, document in (("works", SEMANTIC), ("risks", DOMAIN)):
        services.save_schema(actor=actor, project=project, name=name, document=document)
    later = get_database_now() + timedelta(days=1)
    url = {"name": "studio", "url": "http://127.0.0.1:9", "token": "", "hook_secret": ""}
    server = LabelServer.objects.create(project=project, next_check_at=later, created_by="engineer", **url)
    labelling = services.create_labelling(
        actor=actor,
        project=project,
        name="credits",
        server=server.name,
        schema="works:v1",
        source=f"{source.dataset.name}:v{source.number}",
        groups=["one", "two"],
        overlap=1.0,
    )
    LabellingProject.objects.filter(pk=labelling.pk).update(
        state="labelling",
        tasks_count=2,
        progress={"tasks": {"agreed": 1, "disputed": 1}, "imported": 4, "to_import": 4, "annotators": []},
        agreement=AGREEMENT,
        agreement_value=0.72,
        owner="nobody",
        lease_until=later,
    )
    add_task(labelling, 0, [BOTH, BOTH], state="agreed", marks=BOTH)
    add_task(labelling, 1, [BOTH, {"spans": [PERSON]}], state="disputed")
    return labelling.pk


def add_task(labelling: LabellingProject, number: int, marked: list[dict[str, Any]], **fields: Any) -> None:
    task = LabelTask.objects.create(labelling=labelling, number=number, row=number, data={"text": TEXT}, **fields)
    now = get_database_now()
    groups = AnnotatorGroup.objects.filter(labelling=labelling).order_by("number")
    for place, (group, marks) in enumerate(zip(groups, marked, strict=True)):
        annotator, _new = Annotator.objects.get_or_create(
            labelling=labelling, remote_user=place, pseudonym=f"A{place + 1}"
        )
        times = {"created_at": now, "updated_at": now}
        facts = {"remote_id": 2 * number + place, "remote_task": 2 * number + place, "marks": marks, **times}
        Annotation.objects.create(group=group, task=task, annotator=annotator, **facts)
