"""Machine code is loaded by a job only where a compile job of the project made it."""

from __future__ import annotations

import pytest

from apps.core.errors import Invalid
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.machine_code import refuse_foreign_code
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.submission import InputSpec

pytestmark = pytest.mark.django_db
LIBRARY = b"\x7fELF" + b"\0" * 60


@pytest.fixture
def kept(project, settings, tmp_path):
    settings.PLANE_HOME = tmp_path

    def put(data: bytes) -> Artifact:
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "x"})
        return artifact

    return put


@pytest.fixture
def made_by(project):
    """made_by(artifact, kind=..., ...) -> a job that has this output."""

    def make(artifact, kind="compile", slot="model", state="succeeded", where=None):
        facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
        job = Job.objects.create(project=where or project, kind=kind, state=state, requester="x", **facts)
        return JobOutput.objects.create(job=job, slot=slot, artifact=artifact, name="model.so", media_type="x/y")

    return make


def evaluation_of(model, kept):
    digests = {"model": model.digest, "manifest": kept(b"{}").digest, "table": kept(b"table").digest}
    return {"kind": "evaluate", "inputs": [InputSpec(slot=slot, digest=digest) for slot, digest in digests.items()]}


def test_an_uploaded_library_is_refused_before_it_queues(submit, kept):
    with pytest.raises(Invalid) as caught:
        submit(**evaluation_of(kept(LIBRARY), kept))
    assert [(error["code"], error["field"]) for error in caught.value.errors] == [
        ("foreign_code", "/inputs/model/digest")
    ]
    assert not Job.objects.exists()


def test_what_was_compiled_here_and_what_is_no_code_may_queue(submit, kept, made_by):
    compiled = kept(LIBRARY)
    made_by(compiled)
    assert submit(**evaluation_of(compiled, kept)).pk
    assert submit(**evaluation_of(kept(b"safetensors"), kept)).pk


@pytest.mark.parametrize(
    "maker", [{"kind": "noop"}, {"slot": "figures"}, {"state": "failed"}, {"where": "other"}, None]
)
def test_a_worker_refuses_code_from_elsewhere(project, other_project, kept, made_by, tmp_path, maker):
    library, path = kept(LIBRARY), tmp_path / "000"
    path.write_bytes(LIBRARY)
    if maker is not None:
        made_by(library, **(maker | ({"where": other_project} if "where" in maker else {})))
    with pytest.raises(Invalid) as caught:
        refuse_foreign_code(project.pk, "model", library.digest, path)
    assert caught.value.code == "foreign_code"
    made_by(library)
    refuse_foreign_code(project.pk, "model", library.digest, path)
