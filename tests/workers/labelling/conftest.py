"""One Label Studio for all tests of this folder, a client of it, a connection to it, and the driver's round."""

from __future__ import annotations

import json

import pytest

from apps.data.datasets.services import add_files
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject
from apps.platform.artifacts.services import store_file
from apps.platform.nodes.samples import get_database_now
from tests.workers.labelling.studio import Studio


@pytest.fixture(scope="session")
def shared_studio(tmp_path_factory):
    home = tmp_path_factory.mktemp("studio") / "home"
    home.mkdir()
    studio = Studio(home)
    yield studio
    studio.stop()


@pytest.fixture
def studio(shared_studio, settings):
    settings.LABELLING_HOSTS = [shared_studio.host]
    return shared_studio


@pytest.fixture
def client(studio):
    """The stock client, as an annotator's browser."""
    from label_studio_sdk.client import LabelStudio

    return LabelStudio(base_url=f"http://{studio.host}", api_key=studio.token)


@pytest.fixture
def actor(engineer, actor_for):
    return actor_for(engineer)


@pytest.fixture
def server(studio, actor, project):
    url = f"http://{studio.host}"
    return services.connect_server(actor=actor, project=project, name="studio", url=url, token=studio.token)


@pytest.fixture
def drive(worker_actor):
    from workers.labelling.driver import drive_labellings

    def run():
        LabellingProject.objects.filter(next_at__isnull=False).update(next_at=get_database_now(), lease_until=None)
        drive_labellings(worker_actor)

    return run


@pytest.fixture
def add_dataset(actor, project, tmp_path):
    """add_dataset(name, {path: bytes}) -> a version of these files."""

    def add(name, contents):
        files = []
        for path, content in contents.items():
            (tmp_path / "file").write_bytes(content)
            stored = store_file(actor=actor, project=project, path=tmp_path / "file", name=path)
            files.append((path, stored.digest, ""))
        return add_files(actor=actor, project=project, dataset_name=name, files=files)[0]

    return add


@pytest.fixture
def add_texts(add_dataset):
    """add_texts(name, texts) -> a version of JSON lines."""

    def add(name, texts):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        return add_dataset(name, {"texts.jsonl": lines.encode()})

    return add


@pytest.fixture
def create(actor, project, server, drive):
    """create(name, document, **fields) -> a labelling project with its tasks imported."""

    def make(name, document, **fields):
        services.save_schema(actor=actor, project=project, name=name, document=document)
        labelling = services.create_labelling(
            actor=actor, project=project, name=name, server="studio", schema=f"{name}:v1", **fields
        )
        drive()
        labelling.refresh_from_db()
        return labelling

    return make
