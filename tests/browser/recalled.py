"""A device that runs the second version of a model, which was trained on data that is about to be recalled; it ran the
first one before. Run in the home of the plane."""

from __future__ import annotations

import os
from pathlib import Path

from apps.core.canonical import sha256_hex
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.fleet.devices.authentication import build_device_actor
from apps.fleet.devices.models import Device
from apps.fleet.devices.schemas import DeviceBody
from apps.fleet.devices.services import assign_release, record_unsigned_result, register_device
from apps.fleet.releases.services import issue_release
from apps.ml.registry.models import Alias, AliasMove, Model, ModelVersion, Variant
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.lineage.models import Edge
from tests.apps.gateways.hawkbit.stock_plane import approve, store

DEVICE = "belt-3"


def seed() -> int:
    """The key of the dataset version that is at fault."""
    project = Project.objects.get(slug="demo")
    engineer = build_actor_for_user(User.objects.get(username="engineer"))
    dataset = Dataset.objects.create(project=project, name="belt-wear", created_by="engineer", versions_count=1)
    facts = {"manifest": "{}", "media_type": "text/csv", "rows": 2, "size": 40, "created_by": "engineer"}
    data = DatasetVersion.objects.create(dataset=dataset, number=1, digest=sha256_hex("belt-wear 1"), **facts)
    model = Model.objects.create(project=project, name="belt-wear", versions_count=2, created_by="engineer")
    device = register_device(actor=engineer, project=project, body=DeviceBody(name=DEVICE, architecture="x86_64"))[0]
    for number in (1, 2):
        variant = add_variant(project, model, number)
        promote(project, variant.version)
        release = issue_release(
            actor=engineer, variant=variant, approval=approve(project, variant.version), without_samples=True
        )
        assign_release(actor=engineer, device=device, release=release)
        install()
    end = {"source_type": "dataset_version", "source_id": str(data.pk), "source_label": str(data), "role": "table"}
    Edge.objects.create(project=project, target_type="model_version", target_id=str(variant.version_id), **end)
    return data.pk


def add_variant(project: Project, model: Model, number: int) -> Variant:
    path = Path(os.environ["PLANE_HOME"]) / "belt.onnx"
    path.write_bytes(f"belt {number}".encode())
    file = store(project, path, path.name)
    facts = {"task": "regression", "target": "wear", "created_by": "engineer", "document": "{}"}
    version = ModelVersion.objects.create(model=model, number=number, digest=sha256_hex(f"belt {number}"), **facts)
    files = {"file": "model.onnx", "artifact": file, "manifest": file, "size": file.size}
    return Variant.objects.create(version=version, name="onnx", format="onnx", **files)


def promote(project: Project, version: ModelVersion) -> None:
    """The rows that a promotion leaves."""
    before = ModelVersion.objects.filter(aliases__name="production", model=version.model_id).first()
    Alias.objects.update_or_create(model=version.model, name="production", defaults={"version": version})
    move = {"alias": "production", "kind": "promote", "by": "approver", "approval": approve(project, version)}
    AliasMove.objects.create(model=version.model, from_version=before, to_version=version, **move)


def install() -> None:
    """The device installs what it is assigned; a stock client, whose word is taken."""
    device = Device.objects.get(name=DEVICE)
    assignment = device.assignments.get(state="assigned")
    record_unsigned_result(actor=build_device_actor(device), device=device, assignment=assignment, succeeded=True)
