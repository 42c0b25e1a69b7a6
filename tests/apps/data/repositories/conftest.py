import base64
import json

import pytest

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store

TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n"
LFS = "application/vnd.git-lfs+json"


@pytest.fixture(autouse=True)
def _home(settings, tmp_path):
    """A store and repositories of the test's own."""
    settings.PLANE_HOME = tmp_path
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": "", "repositories_folder": None})


@pytest.fixture
def limits(settings):
    """limits(name=value): other values of the environment."""

    def set_(**values):
        settings.ENV = settings.ENV.model_copy(update=values)

    return set_


@pytest.fixture
def held(project):
    """held(bytes, where=project) -> an artifact that the project holds."""

    def put(data=TABLE, where=None):
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=where or project, artifact=artifact, defaults={"created_by": "x"})
        return artifact

    return put


@pytest.fixture
def dataset(worker_actor, project):
    return create_dataset(actor=worker_actor, project=project, name="wti")


@pytest.fixture
def added(worker_actor, dataset, held):
    """added({path: bytes}) -> the version of these files."""

    def add(files, **more):
        rows = [(path, held(data), "text/csv") for path, data in files.items()]
        values = {"rows": 1, "columns": [], "script": "upload", "params": {}} | more
        return add_version(actor=worker_actor, dataset=dataset, files=rows, media_type="text/csv", **values)[0]

    return add


class Asker:
    """A client of the protocols with a token: POST sends JSON of LFS."""

    def __init__(self, client, secret: str = "", *, basic: bool = False) -> None:
        self.client, self.at = client, "/git/demo/wti.git"
        word = base64.b64encode(f"git:{secret}".encode()).decode()
        self.headers = {"HTTP_AUTHORIZATION": f"Basic {word}" if basic else f"Bearer {secret}"} if secret else {}

    def get(self, path: str, **more):
        return self.client.get(self.at + path, **self.headers, **more)

    def lfs(self, path: str, body, **more):
        sent = {"content_type": LFS, "HTTP_ACCEPT": LFS, **self.headers, **more}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"{self.at}/info/lfs{path}", data, **sent)

    def batch(self, operation: str, *objects, **more):
        rows = [{"oid": oid, "size": size} for oid, size in objects]
        return self.lfs("/objects/batch", {"operation": operation, "objects": rows, "transfers": ["basic"], **more})


@pytest.fixture
def asker(client, make_token):
    """asker(user or None) -> a client with a token of theirs."""
    return lambda user=None, **more: Asker(client, make_token(user)[0] if user else "", **more)
