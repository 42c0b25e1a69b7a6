"""Three levels of labelling against a real Label Studio (make labelling), down to a model that was trained on them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from apps.data.datasets.services import add_files
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject
from apps.platform.artifacts.services import store_file
from apps.platform.jobs.models import Job
from apps.platform.lineage.models import Edge
from apps.platform.nodes.samples import get_database_now
from controlplane.label_studio import LabelStudio
from workers import tasks

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PROGRAM = Path(os.environ.get("LABELLING_ENV", ".label-studio")).absolute() / "bin/label-studio"
if not PROGRAM.exists():
    pytest.skip("no Label Studio: make labelling", allow_module_level=True)

TEMPLATE = (
    '<View><Text name="text" value="$text"/><Labels name="labels" toName="text">'
    '<Label value="PERSON" background="#FFA500"/><Label value="ORG" background="#00BFFF"/></Labels></View>'
)
PEOPLE = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Tim Cook", "屠呦呦", "袁隆平", "钱学森", "任正非")
FIRMS = ("IBM", "Siemens", "Apple", "Airbus", "中国科学院", "北京大学", "华为", "清华大学")
LABELS = [{"value": "PERSON", "background": "#FFA500"}, {"value": "ORG", "background": "#00BFFF"}]
RELATIONS = [{"value": "works_for", "sources": ["PERSON"], "targets": ["ORG"]}]
RULES = [{"name": "employer", "condition": 'if certain = "yes" then every PERSON has works_for'}]
FIELDS = [{"name": "certain", "choices": ["yes", "no"], "required": True}]


def build_text(person: str, firm: str) -> str:
    return f"{person}曾在{firm}工作。" if not person.isascii() else f"{person} once worked at {firm} in Europe."


TEXTS = [build_text(PEOPLE[place % 8], FIRMS[(place // 4) % 4 + 4 * (place % 8 > 3)]) for place in range(32)]


@pytest.fixture
def studio(tmp_path, monkeypatch, settings):
    """A real server with an account of its own, until the end of the test."""
    monkeypatch.setenv("LABELLING_ENV", str(PROGRAM.parent.parent))
    server = LabelStudio(tmp_path)
    server.prepare()
    settings.LABELLING_HOSTS = [server.host]
    with (tmp_path / "studio.log").open("wb") as log:
        process = subprocess.Popen(server.command, env=server.build_environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 600  # its first start makes its tables: 30 s alone, minutes beside others
        while not is_healthy(server):
            assert process.poll() is None, (tmp_path / "studio.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def is_healthy(server: LabelStudio) -> bool:
    try:
        return httpx.get(f"http://{server.host}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def client(studio):
    from label_studio_sdk.client import LabelStudio as Client

    return Client(base_url=f"http://{studio.host}", api_key=str(studio.account["token"]))


@pytest.fixture
def drive(worker_actor):
    from workers.labelling.driver import drive_labellings

    def run():
        LabellingProject.objects.filter(next_at__isnull=False).update(next_at=get_database_now())
        drive_labellings(worker_actor)

    return run


def build_span(text: str, words: str, label: str) -> dict:
    start = text.index(words)
    value = {"start": start, "end": start + len(words), "text": words, "labels": [label]}
    return {"id": words, "from_name": "labels", "to_name": "text", "type": "labels", "value": value}


def build_marks(text: str, *, relation: bool = False, certain: str = "") -> list[dict]:
    person = next(name for name in PEOPLE if name in text)
    firm = next(name for name in FIRMS if name in text)
    rows = [build_span(text, person, "PERSON"), build_span(text, firm, "ORG")]
    if relation:
        ends = {"from_id": person, "to_id": firm, "direction": "right"}
        rows.append({"type": "relation", **ends, "labels": ["works_for"]})
    if certain:
        choice = {"id": "c", "from_name": "certain", "to_name": "text", "type": "choices"}
        rows.append({**choice, "value": {"choices": [certain]}})
    return rows


def mark_all(client, labelling, **options) -> None:
    for group in labelling.groups.all():
        for row in group.remote_tasks.select_related("task"):
            result = build_marks(row.task.data["text"], **options)
            client.annotations.create(id=row.remote_id, result=result, lead_time=2.0)


def test_three_levels_end_in_a_model_that_names_its_annotations(
    studio, client, drive, worker, project, engineer, actor_for, tmp_path
):
    actor = actor_for(engineer)
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    stored = store_file(actor=actor, project=project, path=path)
    add_files(actor=actor, project=project, dataset_name="texts", files=[(path.name, stored.digest, "")])
    token = str(studio.account["token"])
    services.connect_server(actor=actor, project=project, name="studio", url=f"http://{studio.host}", token=token)

    def create(name, document, **fields):
        services.save_schema(actor=actor, project=project, name=name, document=document)
        facts = {"name": name, "server": "studio", "schema": f"{name}:v1", **fields}
        labelling = services.create_labelling(actor=actor, project=project, **facts)
        drive()
        return labelling

    basic = create("basic", TEMPLATE, source="texts:v1", groups=["one", "two"], overlap=0.5, bar=0.8)
    mark_all(client, basic)
    drive()
    basic.refresh_from_db()
    assert (basic.progress["tasks"], basic.failure) == ({"agreed": 32}, {})
    assert basic.agreement_value == 1.0

    semantic = create(
        "semantic",
        {"level": "semantic", "data": "text", "labels": LABELS, "relations": RELATIONS},
        parent="basic",
    )
    mark_all(client, semantic, relation=True)
    drive()
    semantic.refresh_from_db()
    assert semantic.progress["tasks"] == {"agreed": 32}

    document = {"level": "domain", "data": "text", "labels": LABELS, "relations": RELATIONS}
    domain = create("domain", {**document, "fields": FIELDS, "rules": RULES}, parent="semantic")
    first = domain.groups.get().remote_tasks.order_by("number").first()
    broken = build_marks(first.task.data["text"], certain="yes")  # without the relation
    client.annotations.create(id=first.remote_id, result=broken, lead_time=1.0)
    drive()
    drive()
    assert domain.tasks.get(number=0).state == "returned"
    mark_all(client, domain, relation=True, certain="yes")
    drive()
    domain.refresh_from_db()
    assert (domain.progress["tasks"], domain.failure) == ({"agreed": 32}, {})

    services.request_result(actor=actor, labelling=domain, dataset="people")
    drive()
    domain.refresh_from_db()
    assert domain.result is not None, domain.failure
    assert domain.result.params["schema"]["level"] == "domain"
    job = services.train_on_result(actor=actor, labelling=domain)
    tasks.run_next("cpu")
    job = Job.objects.get(pk=job.pk)
    assert job.state == "succeeded", job.error
    edge = Edge.objects.get(source_type="dataset_version", target_type="job", target_id=str(job.pk))
    assert (edge.source_id, edge.source_label) == (str(domain.result_id), "people v1")
    client.tasks.delete(id=domain.groups.get().remote_tasks.order_by("number").last().remote_id)
    drive()
    drive()
    domain.refresh_from_db()
    assert domain.progress["tasks"] == {"agreed": 32}
