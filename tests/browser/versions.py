"""A registered model version without a training: for days that begin where the engineer's ends.

Run in the plane's home: `run_code("from tests.browser.versions import make; make('wards', 1.5)")`. Its
bytes are in the store and registered by the service that registers a job's, so whatever reads them finds them whole.
"""

from __future__ import annotations

from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.registry.documents import serialize_document
from apps.ml.registry.services import register_version
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job, JobInput, JobOutput

TENSOR = {"dtype": "float32", "shape": [-1, 2]}


def make(model: str, rmse: float) -> None:
    """One version of `model` in the project demo, of one variant whose error is `rmse`."""
    project = Project.objects.get(slug="demo")
    files = {name: held(project, f"{name} of {model} {rmse}") for name in ("model", "manifest", "heldout")}
    trainer = job_of(project, "train")
    for slot, artifact in files.items():
        JobOutput.objects.create(job=trainer, slot=slot, artifact=artifact, name=slot, media_type="x/y")
    job, document = job_of(project, "register"), document_of(files, rmse)
    for slot, artifact in (("fp32", files["model"]), ("fp32_manifest", files["manifest"])):
        JobInput.objects.create(job=job, slot=slot, artifact=artifact, source_job=trainer)
    written = held(project, serialize_document(document))
    outputs = [("version", written, "version.json", "application/json", document)]
    register_version(
        actor=build_plane_actor(PlaneRole.WORKER, host="test"),
        project=project,
        model_name=model,
        outputs=outputs,
        job=job,
    )


def held(project: Project, text: str) -> Artifact:
    with get_store().open_staging() as staging:
        staging.write(text.encode())
        digest, size = staging.publish()
    artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
    Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "it"})
    return artifact


def job_of(project: Project, kind: str) -> Job:
    facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
    return Job.objects.create(project=project, kind=kind, state="succeeded", requester="engineer", **facts)


def document_of(files: dict[str, Artifact], rmse: float) -> dict:
    metric = {"name": "rmse", "value": rmse, "low": rmse - 0.1, "high": rmse + 0.1, "confidence": 0.95}
    metric |= {"better": "lower", "unit": "", "method": "bootstrap"}
    figures = {"schema": "plane/figures/v1", "variant": "fp32", "rows": 40, "metrics": [metric], "notes": []}
    variant = {"name": "fp32", "slot": "fp32", "format": "safetensors", "file": "model.safetensors", "parent": None}
    variant |= {"model": files["model"].digest, "manifest": files["manifest"].digest, "size": files["model"].size}
    variant |= {"heldout": None, "machine": {}, "figures": figures | {"size_bytes": files["model"].size}}
    return {
        "schema": "plane/model-version/v1",
        "task": "forecast",
        "target": "load",
        "features": ["lag 1", "lag 2"],
        "classes": [],
        "signature": {"inputs": [{"name": "features", **TENSOR}], "outputs": [{"name": "value", **TENSOR}]},
        "architecture": {"type": "mlp", "hidden": [8]},
        "inputs": {},
        "spec": {"task": "forecast"},
        "note": "",
        "variants": [variant],
    }
