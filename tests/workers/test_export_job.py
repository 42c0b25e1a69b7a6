"""An export on the plane: from the trained model to files, lineage, and a form that is registered and evaluated."""

from __future__ import annotations

import io
import json

import pytest
import torch

from apps.ml.experiments.models import Run
from apps.ml.registry.models import Variant
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from apps.platform.nodes.extras import ONNX
from apps.platform.nodes.models import Node
from deepseek.export import run as export_module
from deepseek.models.figures import Figures, Metric
from deepseek.models.heldout import HELDOUT_NAME
from deepseek.models.manifest import MANIFEST_NAME
from tests.deepseek.models.making import make_model
from workers import tasks

pytestmark = pytest.mark.django_db(transaction=True)
SPEC = {"forms": ["pt2", "torchscript"]}
TABLE = "x0,x1,x2,y\n" + "".join(f"{n},{-n},{n % 3},{'yes' if n % 2 else 'no'}\n" for n in range(24))


@pytest.fixture
def store(project):
    """store(path or bytes) -> the digest of an artifact that the project holds."""

    def put(data) -> str:
        with get_store().open_staging() as staging:
            staging.write(data if isinstance(data, bytes) else data.read_bytes())
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "it"})
        return digest

    return put


@pytest.fixture
def trained(worker, store, tmp_path):
    """{slot: digest} of a classifier with figures, and its folder."""
    folder = tmp_path / "model"
    manifest = make_model(folder, task="classification", inputs=3)
    metric = Metric(name="accuracy", value=0.5, low=0.4, high=0.6, confidence=0.95, better="higher")
    figures = Figures(variant="fp32", rows=60, metrics=[metric], size_bytes=manifest.file.size)
    files = {"model": folder / manifest.file.name, "manifest": folder / MANIFEST_NAME, "heldout": folder / HELDOUT_NAME}
    digests = {slot: store(path) for slot, path in files.items()}
    return digests | {"figures": store(figures.to_json().encode())}, folder


@pytest.fixture
def ended(submit):
    """ended(kind, {slot: digest}) -> the job, once a worker has done it."""

    def run(kind, digests, **fields) -> Job:
        inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in digests.items()]
        job = submit(kind=kind, inputs=inputs, **fields)
        tasks.run_next("cpu")
        return Job.objects.get(pk=job.pk)

    return run


def test_the_forms_are_files_and_torchscript_becomes_a_variant(trained, ended, store, api, web, engineer):
    digests, _ = trained
    given = {slot: digests[slot] for slot in ("model", "manifest", "heldout")}
    job = ended("export", given, spec=SPEC)
    assert (job.state, job.error) == ("succeeded", None)
    outputs = {row.slot: row for row in job.outputs.all()}
    assert {slot: (row.name, row.media_type) for slot, row in outputs.items()} == {
        "pt2": ("model.pt2", "application/vnd.torch.export"),
        "model": ("model.pt", "application/vnd.torchscript"),
        "manifest": ("model.json", "application/vnd.plane.model+json"),
        "figures": ("figures.json", "application/vnd.plane.figures+json"),
        "export": ("manifest.json", "application/vnd.plane.export+json"),
    }
    edges = Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("source_id", "role")
    assert list(edges) == [(digests["model"], "model")]
    made = Edge.objects.filter(source_type="job", source_id=str(job.pk)).values_list("role", "target_id")
    run = Run.objects.get(job=job)
    assert dict(made) == {slot: row.artifact_id for slot, row in outputs.items()} | {"run": run.pk}

    page = web(engineer).get(f"/p/demo/jobs/{job.pk}").content.decode()
    assert "model.pt2" in page
    answer = api(engineer).get(f"/api/v1/projects/demo/artifacts/{outputs['pt2'].artifact_id}")
    assert answer.status_code == 200, answer.content
    program = torch.export.load(io.BytesIO(b"".join(answer.streaming_content)))
    assert program.module()(torch.zeros(2, 3)).shape == (2, 2)
    assert {"difference_pt2", "size_bytes_torchscript"} <= set(run.metrics.values_list("key", flat=True))

    forms = {"fp32": digests["model"], "fp32_manifest": digests["manifest"], "fp32_figures": digests["figures"]}
    forms |= {
        f"exported{ending}": outputs[slot].artifact_id
        for slot, ending in (("model", ""), ("manifest", "_manifest"), ("figures", "_figures"))
    }
    assert ended("register", forms, spec={}, register={"model": "flowers"}).error is None
    variant = Variant.objects.get(name="torchscript")
    assert (variant.parent.name, variant.job_id, variant.format) == ("fp32", job.pk, "torchscript")
    table = {"model": variant.artifact_id, "manifest": variant.manifest_id, "table": store(TABLE.encode())}
    job = ended("evaluate", table, spec={"batches": [1], "runs": 20})
    assert (job.state, job.error) == ("succeeded", None)


def test_each_fault_reaches_the_page_and_the_api_without_a_trace(
    trained, ended, store, api, web, engineer, monkeypatch
):
    Node.objects.update(extras=[ONNX])
    digests, folder = trained
    weights = folder / "model.safetensors"
    load, wrong = export_module.load_network, []

    def replace(forward):
        class Other(torch.nn.Module):
            def __init__(self, network):
                super().__init__()
                self.network = network
                self.register_buffer("input_mean", network.input_mean)
                self.register_buffer("input_scale", network.input_scale)

            def forward(self, features):
                return forward(self.network(features))

        return lambda manifest, path: Other(load(manifest, path)).eval()

    def branch(outputs):
        return outputs * 2 if outputs.sum() > 1e6 else outputs

    torch.save({"weights": [1.0]}, folder / "pickle.pt")
    tampered = weights.read_bytes()[:-1] + b"\x01"
    for code, model, forward in (
        ("model_tampered", tampered, None),
        ("model_unsafe", folder / "pickle.pt", None),
        ("export_branch", weights, branch),
        ("export_operator", weights, torch.special.bessel_j0),
    ):
        with monkeypatch.context() as patch:
            if forward is not None:
                patch.setattr(export_module, "load_network", replace(forward))
            job = ended(
                "export",
                {"model": store(model), "manifest": digests["manifest"]},
                spec={"forms": ["torchscript", "onnx"]} if code == "export_operator" else SPEC,
            )
        error = api(engineer).get(f"/api/v1/projects/demo/jobs/{job.pk}").json()["error"]
        page = web(engineer).get(f"/p/demo/jobs/{job.pk}").content.decode()
        clear = error["code"] == code and error["hint"] and "Traceback" not in json.dumps(error) + page
        if not (clear and job.state == "failed" and job.attempt == 1 and error["message"].split(":")[0] in page):
            wrong.append((code, job.state, error))
    assert wrong == []
    assert not Run.objects.filter(state="finished").exists()
