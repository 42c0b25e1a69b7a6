"""A file store as MLflow 3 lays it out, written by hand, and the command that takes it over."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

RUN, OTHER, DELETED = "1" * 32, "2" * 32, "3" * 32
MODEL = "m-" + "a" * 32

EXPERIMENT = """artifact_location: file:///elsewhere/mlruns/{id}
creation_time: 1700000000000
experiment_id: '{id}'
last_update_time: 1700000001000
lifecycle_stage: {stage}
name: {name}
"""
RUN_META = """artifact_uri: {uri}
end_time: {end}
experiment_id: '7'
lifecycle_stage: {stage}
run_id: {id}
run_name: {name}
start_time: 1700000000000
status: {status}
user_id: ada
"""
VERSION = """creation_timestamp: 1700000000000
current_stage: {stage}
description: {text}
last_updated_timestamp: 1700000000000
model_id: {model}
name: Iris Model
run_id: {run}
source: {source}
version: {number}
"""


class Written:
    """A store on the disk: `put(path, text)` writes one file of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, path: str, text: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def experiment(self, id: str, name: str, stage: str = "active") -> None:
        folder = ".trash/" if stage == "deleted" else ""
        self.put(f"{folder}{id}/meta.yaml", EXPERIMENT.format(id=id, name=name, stage=stage))

    def run(self, id: str, *, name="first", status=3, stage="active", end="1700000005000", uri="") -> None:
        uri = uri or f"file:///elsewhere/mlruns/7/{id}/artifacts"
        text = RUN_META.format(id=id, name=name, status=status, stage=stage, end=end, uri=uri)
        self.put(f"7/{id}/meta.yaml", text)

    def version(self, number: int, source: str, *, model="null", run="null", stage="None", text="null") -> None:
        told = {"number": number, "source": source, "model": model, "run": run, "stage": stage, "text": text}
        self.put(f"models/Iris Model/version-{number}/meta.yaml", VERSION.format(**told))


def points(values, start=1700000000000):
    return "".join(f"{start + step} {value} {step}\n" for step, value in enumerate(values))


@pytest.fixture
def written(tmp_path, settings) -> Written:
    """Two experiments and a deleted one, three runs, a logged model, a registered one of three versions."""
    settings.PLANE_HOME = tmp_path / "home"
    store = Written(tmp_path / "mlruns")
    store.experiment("0", "Default")
    store.experiment("7", "iris")
    store.experiment("8", "gone", "deleted")
    store.put("7/tags/team", "a")
    store.run(RUN)
    store.put(f"7/{RUN}/params/lr", "0.1")
    store.put(f"7/{RUN}/params/opt/name", "adam")
    store.put(f"7/{RUN}/params/empty", "")
    store.put(f"7/{RUN}/tags/mlflow.runName", "first")
    store.put(f"7/{RUN}/tags/mlflow.note.content", "# Note\n")
    store.put(f"7/{RUN}/metrics/train/loss", points([1.0, 0.5, 0.25]))
    store.put(f"7/{RUN}/metrics/odd", points(["nan", "inf", "-inf"]))
    store.put(f"7/{RUN}/metrics/acc", "1700000000000 0.9 5 d abcd1234\n")
    store.put(f"7/{RUN}/artifacts/notes/a b#ü.txt", "hello")
    store.put(f"7/{RUN}/artifacts/empty.txt", "")
    store.put(f"7/{RUN}/artifacts/old/MLmodel", "flavors: {}\n")
    store.put(
        f"7/{RUN}/inputs/9f/meta.yaml", "source_id: d1\nsource_type: DATASET\ntags:\n  mlflow.data.context: train\n"
    )
    data = "digest: abcd1234\nname: d\nprofile: '{}'\nschema: '{}'\nsource: '{}'\nsource_type: local\n"
    store.put("7/datasets/d1/meta.yaml", data)
    link = f"destination_id: {MODEL}\nsource_type: RUN_OUTPUT\nstep: 5\n"
    store.put(f"7/{RUN}/outputs/{MODEL}/meta.yaml", link)
    store.run(OTHER, name="second", status=1, end="null")
    store.put(f"7/{OTHER}/metrics/m", points([1.0]))
    store.run(DELETED, name="third", status=5, stage="deleted")
    store.put(
        f"7/models/{MODEL}/meta.yaml",
        f"creation_timestamp: 1700000000000\nexperiment_id: '7'\nlast_updated_timestamp: 1700000000000\n"
        f"model_id: {MODEL}\nmodel_type: clf\nname: net\nsource_run_id: {RUN}\nstatus: 2\n",
    )
    store.put(f"7/models/{MODEL}/params/depth", "3")
    store.put(f"7/models/{MODEL}/tags/t", "u")
    store.put(f"7/models/{MODEL}/metrics/acc", f"1700000000000 0.9 5 {RUN} d abcd1234\n")
    store.put(f"7/models/{MODEL}/artifacts/MLmodel", "flavors: {}\n")
    store.put(f"7/models/{MODEL}/artifacts/data/w.bin", bytes(range(256)))
    store.put(
        "models/Iris Model/meta.yaml",
        "creation_timestamp: 1700000000000\ndescription: iris\nlast_updated_timestamp: 1700000000000\n"
        "name: Iris Model\n",
    )
    store.put("models/Iris Model/tags/a", "b")
    store.version(1, f"models:/{MODEL}", model=MODEL, run=RUN, stage="Staging", text="v one")
    store.version(2, f"file:///elsewhere/mlruns/7/{RUN}/artifacts/old", run=RUN)
    store.version(3, f"models:/{MODEL}", model=MODEL, stage="Deleted_Internal")
    store.put("models/Iris Model/version-1/tags/x", "y")
    store.put("models/Iris Model/aliases/champion", "1")
    store.put("models/Iris Model/aliases/production", "2")
    return store


@pytest.fixture
def take(written, project):
    """take(*options, status=0) -> what the command prints; it must end with this status."""

    def run(*options: str, status: int = 0, source: str = "") -> str:
        out, errors = StringIO(), StringIO()
        code = 0
        try:
            call_command(
                "import_mlflow",
                source or str(written.root),
                "--project",
                project.slug,
                *options,
                stdout=out,
                stderr=errors,
            )
        except SystemExit as end:
            code = end.code
        text = out.getvalue() + errors.getvalue()
        assert code == status, text
        return text

    return run
