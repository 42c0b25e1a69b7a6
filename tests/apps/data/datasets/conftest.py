import json

import pytest

from apps.data.datasets import bounded_process
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.versions.registration import add_version
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job, JobInput
from tests.apps.data.datasets import inline_engine as engine

CSV = b"day,close\n2026-01-02,57.3\n2026-01-03,\n2026-01-04,58.1\n"
ASK_CHILD = bounded_process.run_engine


@pytest.fixture
def inline_engine(monkeypatch):
    """Ask the engine in this process."""
    monkeypatch.setattr(bounded_process, "run_engine", engine.ask)


@pytest.fixture
def engine_child(inline_engine, monkeypatch):
    """Ask the engine in a bounded child, where the module asks it in this process."""
    monkeypatch.setattr(bounded_process, "run_engine", ASK_CHILD)


@pytest.fixture
def held(project):
    """held(bytes, project=...) -> an Artifact whose bytes are in the store, held by the project."""

    def put(data=CSV, where=None, media_type="text/csv"):
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(
            project=where or project, artifact=artifact, defaults={"name": "it", "media_type": media_type}
        )
        return artifact

    return put


@pytest.fixture
def dataset(worker_actor, project):
    return create_dataset(actor=worker_actor, project=project, name="wti-daily")


@pytest.fixture
def added(worker_actor, dataset):
    """added(path=artifact, ...) -> the version that add_version makes; paths in a dictionary."""

    def add(files, actor=worker_actor, into=dataset, media_type=PARQUET, **more):
        values = {"rows": 3, "columns": [{"name": "close", "dtype": "double"}], "script": "test", "params": {}} | more
        rows = [(path, artifact, media_type) for path, artifact in files.items()]
        return add_version(actor=actor, dataset=into, files=rows, media_type=media_type, **values)

    return add


@pytest.fixture
def job(project):
    """job(slot=artifact, ...) -> a job of the project with these inputs."""

    def make(**inputs):
        made = Job.objects.create(
            project=project, kind="clean", spec="{}", spec_digest="0" * 64, queue="cpu", time_limit_seconds=60, grant={}
        )
        JobInput.objects.bulk_create(JobInput(job=made, slot=slot, artifact=one) for slot, one in inputs.items())
        return made

    return make


@pytest.fixture
def report():
    """The bytes of a quality report."""
    shown = {"columns": ["day", "close"], "rows": [["2026-01-02", "57.3"], ["2026-01-03", None]]}
    document = {"schema": "plane/quality-report/v1", "rows": 3, "columns": [], "preview": shown}
    return lambda **more: json.dumps(document | more).encode()
