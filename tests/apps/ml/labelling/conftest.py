"""A small Label Studio, a connection to it, a schema, a dataset version, and the driver's round."""

from __future__ import annotations

import json

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.services import add_files
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject
from apps.platform.artifacts.services import store_file
from apps.platform.nodes.samples import get_database_now
from tests.label_studio import TOKEN, FakeLabelStudio

TEMPLATE = (
    '<View><Text name="text" value="$text"/><Labels name="labels" toName="text">'
    '<Label value="PERSON" background="#FFA500"/><Label value="ORG" background="#00BFFF"/></Labels></View>'
)
TEXTS = ("Ada works at ACME.", "王小明在北京大学工作。", "Bob left IBM.", "Nobody was there.")


@pytest.fixture
def studio(settings):
    fake = FakeLabelStudio()
    settings.LABELLING_HOSTS = [fake.url.removeprefix("http://")]
    yield fake
    fake.close()


@pytest.fixture
def actor(engineer, actor_for):
    return actor_for(engineer)


@pytest.fixture
def server(studio, actor, project):
    return services.connect_server(actor=actor, project=project, name="studio", url=studio.url, token=TOKEN)


@pytest.fixture
def schema(actor, project):
    return services.save_schema(actor=actor, project=project, name="names", document=TEMPLATE)[0]


@pytest.fixture
def add_texts(actor, project, tmp_path):
    """add_texts(lines, name) -> a dataset version of JSON lines."""

    def add(lines, name="texts"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        artifact = store_file(actor=actor, project=project, path=path, name=path.name)
        files = [(path.name, artifact.digest, "")]
        return add_files(actor=actor, project=project, dataset_name=name, files=files)[0]

    return add


@pytest.fixture
def texts(add_texts):
    return add_texts([{"text": text} for text in TEXTS])


@pytest.fixture
def create(actor, project, server, schema, texts):
    """create(**fields) -> a labelling project that the driver has not seen yet."""

    def make(**fields) -> LabellingProject:
        usual = {"name": "people", "server": "studio", "schema": "names:v1"}
        if "parent" not in fields:
            usual["source"] = "texts:v1"
        return services.create_labelling(actor=actor, project=project, **{**usual, **fields})

    return make


@pytest.fixture
def drive():
    """drive() -> one round over everything, whether it is due or not."""
    pytest.importorskip("label_studio_sdk")
    from workers.labelling.driver import drive_labellings

    def run(**options) -> int:
        LabellingProject.objects.filter(next_at__isnull=False).update(next_at=get_database_now(), lease_until=None)
        return drive_labellings(build_plane_actor(PlaneRole.WORKER), **options)

    return run


@pytest.fixture
def labelling(create, drive):
    """Of two groups that mark every text, imported."""
    row = create(groups=["one", "two"], overlap=1.0)
    drive()
    row.refresh_from_db()
    return row


def span(start, end, label="PERSON"):
    value = {"start": start, "end": end, "labels": [label]}
    return {"id": f"{start}-{end}-{label}", "from_name": "labels", "to_name": "text", "type": "labels", "value": value}


@pytest.fixture
def mark(studio):
    """mark(labelling, group, number, result) -> the annotation of the task `number` there."""

    def annotate(labelling, group, number, result, **facts):
        row = labelling.groups.get(number=group).remote_tasks.get(number=number)
        return studio.annotate(row.remote_id, result, user=group, **facts)

    return annotate


@pytest.fixture
def agreed(labelling, mark, drive):
    """The labelling project with three texts agreed and one disputed."""
    results = ([span(0, 3), span(13, 17, "ORG")], [span(0, 3)], [span(0, 3), span(9, 12, "ORG")], [])
    for number, result in enumerate(results):
        mark(labelling, 1, number, result)
        mark(labelling, 2, number, [span(0, 6)] if number == 3 else result)
    drive()
    labelling.refresh_from_db()
    return labelling
