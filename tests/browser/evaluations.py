"""Versions of a model that were evaluated, without a training or a job that ran: for pages of evaluations and gates.

Run in the plane's home: `run_code("from tests.browser.evaluations import fill; fill('tides')")`. Whatever
has a service is written by it, so that pages find what a job would have left.
"""

from __future__ import annotations

import base64
import json
import struct

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.versions.manifest import CSV, PARQUET
from apps.ml.registry.models import EvaluationSet, ModelVersion
from apps.ml.registry.services import create_client_model, record_version, request_promotion
from apps.ml.registry.services.evaluations import create_evaluation_set, register_evaluation, set_gate
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from apps.platform.jobs.models import JobInput
from tests.browser.versions import held, job_of, make

DRAWS, PAIRING = 400, "p" * 64
PACE = {"batch": 1, "threads": 1, "runs": 20, "p50_us": 12.5, "p95_us": 20.0, "rows_per_second": 8e4}


def fill(model: str) -> None:
    """v1 in production with an error of 1.0; v2, which is worse by 0.2; a gate that lets 0.05 through."""
    people = {name: build_actor_for_user(User.objects.get(username=name)) for name in ("engineer", "approver")}
    on = golden(people["engineer"], model)
    versions = []
    for rmse in (1.0, 1.2):
        make(model, rmse)
        versions.append(ModelVersion.objects.select_related("model__project").order_by("pk").last())
    first, second = versions
    set_gate(actor=people["approver"], model=first.model, on=on, margin=0.05)
    measure(first, on, 1.0, 0.0)
    asked = request_promotion(actor=people["engineer"], version=first, comment="the first")
    proof = Proof(user_id=User.objects.get(username="approver").pk, method="password")
    approve(actor=people["approver"], approval=asked, facts_digest=asked.facts_digest, reason="good", proof=proof)
    measure(second, on, 1.2, 0.1)


def golden(engineer, model: str) -> EvaluationSet:
    project = Project.objects.get(slug="demo")
    columns = [{"name": name, "dtype": "double"} for name in ("load", "harbour")]
    version = DatasetVersion.objects.create(
        dataset=Dataset.objects.create(project=project, name=f"{model}-kept", created_by="engineer"),
        number=1,
        digest=held(project, f"manifest of {model}").digest,
        manifest="{}",
        media_type=PARQUET,
        size=7,
        columns=columns,
        created_by="engineer",
    )
    table = held(project, f"table of {model}")
    DatasetFile.objects.create(version=version, path="table.parquet", artifact=table, media_type=PARQUET)
    return create_evaluation_set(
        actor=engineer,
        project=project,
        name=f"{model}-golden",
        dataset_version=version,
        task="forecast",
        target="load",
        spec={"slices": [{"column": "harbour"}]},
    )


def measure(version: ModelVersion, on: EvaluationSet, rmse: float, width: float) -> None:
    """What a job measured: `rmse` drawn evenly within `width`; half of it as mae; the harbour Oslo worse than Rome."""
    variant, project = version.variants.get(), version.model.project
    parts = {"Oslo": rmse + 0.1, "Rome": rmse - 0.1}
    metrics = [figure("rmse", rmse, width), figure("mae", rmse / 2, width)]
    told = {
        "schema": "plane/evaluation/v1",
        "task": on.task,
        "target": on.target,
        "variant": variant.name,
        "format": variant.format,
        "model": variant.artifact_id,
        "manifest": variant.manifest_id,
        "table": on.table_id,
        "rows": 40,
        "left_out": 0,
        "queries": None,
        "positive": None,
        "horizon": None,
        "spec": on.spec,
        "pairing": PAIRING,
        "replicates": DRAWS,
        "metrics": metrics,
        "slices": [
            {"column": "harbour", "value": name, "rows": 20, "metrics": [figure("rmse", value, width)]}
            for name, value in parts.items()
        ],
        "calibration": [],
        "latency": [PACE],
        "size_bytes": variant.size,
        "memory": {"model_bytes": 1 << 20, "peak_bytes": 300 << 20},
        "notes": [],
    }
    drawn = [series("rmse", rmse, width), series("mae", rmse / 2, width)]
    drawn += [series("rmse", value, width, ["harbour", name]) for name, value in parts.items()]
    kept = {"schema": "plane/replicates/v1", "pairing": PAIRING, "count": DRAWS, "series": drawn}
    written = held(project, json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1) + "\n")
    job = job_of(project, "evaluate")
    for slot, artifact in (("model", variant.artifact), ("manifest", variant.manifest), ("table", on.table)):
        JobInput.objects.create(job=job, slot=slot, artifact=artifact)
    outputs = [
        ("evaluation", written, "evaluation.json", "application/json", told),
        ("replicates", held(project, json.dumps(kept)), "replicates.json", "application/json", {}),
    ]
    worker = build_plane_actor(PlaneRole.WORKER, host="test")
    register_evaluation(actor=worker, project=project, set_name=on.name, outputs=outputs, job=job)


def figure(name: str, value: float, width: float) -> dict:
    interval = {"low": value - width, "high": value + width, "confidence": 0.95, "method": "bootstrap"}
    return {"name": name, "value": value, "better": "lower", "unit": "", **interval}


def series(metric: str, value: float, width: float, part: list[str] | None = None) -> dict:
    """The draws lie evenly from value - width to value + width."""
    draws = [value + width * (2 * place / (DRAWS - 1) - 1) for place in range(DRAWS)]
    encoded = base64.b64encode(struct.pack(f"<{DRAWS}d", *draws)).decode()
    return {"slice": part, "metric": metric, "better": "lower", "value": value, "draws": encoded}


def fill_client(model: str) -> None:
    """v1 as one of MLflow's clients registers it, which the plane cannot run, and a set of forty real rows."""
    project = Project.objects.get(slug="demo")
    engineer = build_actor_for_user(User.objects.get(username="engineer"))
    version = DatasetVersion.objects.create(
        dataset=Dataset.objects.create(project=project, name=f"{model}-kept", created_by="engineer"),
        number=1,
        digest=held(project, f"manifest of {model}").digest,
        manifest="{}",
        media_type=CSV,
        size=7,
        columns=[{"name": "load", "dtype": "double"}, {"name": "harbour", "dtype": "string"}],
        created_by="engineer",
    )
    rows = "".join(f"{number}.5,{('Oslo', 'Rome')[number % 2]}\n" for number in range(40))
    table = held(project, f"load,harbour\n{rows}")
    DatasetFile.objects.create(version=version, path="table.csv", artifact=table, media_type=CSV)
    asked = {"task": "regression", "target": "load", "spec": {"slices": [{"column": "harbour"}]}}
    create_evaluation_set(actor=engineer, project=project, name=f"{model}-kept", dataset_version=version, **asked)
    create_client_model(actor=engineer, project=project, name=model)
    record_version(actor=engineer, project=project, name=model, source=f"s3://bucket/{model}")
