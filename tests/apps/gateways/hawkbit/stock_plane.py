"""A plane whose devices are stock clients: a release with an update file, and devices that are to install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.faults.homes import prepare_home
from tests.mlflow.servers import answers, plain_environment, running, wait

ROOT = Path(__file__).resolve().parents[4]
POLL_SECONDS = "1"


@dataclass(frozen=True)
class StockPlane:
    address: str
    token: str  # an engineer's
    devices: dict[str, str]
    """Token of each device by its name"""


@contextmanager
def start_stock_plane(home: Path, update_file: Path, *devices: str) -> Iterator[StockPlane]:
    """A plane in `home`; each of `devices` has to install a release whose update file is `update_file`."""
    home.mkdir()
    environment = plain_environment(
        HOME=str(home), PLANE_HOME=str(home), PORT="0", DEVICE_POLL_SECONDS=POLL_SECONDS, WEB_WORKERS="1"
    )
    accounts = prepare_home(environment)
    command = [sys.executable, "-m", "tests.apps.gateways.hawkbit.stock_plane", str(update_file), *devices]
    child_environment = environment | {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=child_environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    tokens = json.loads(done.stdout.splitlines()[-1])
    up = [sys.executable, str(ROOT / "manage.py"), "up", "--no-migrate", "--only", "web"]
    with running(up, home / "up.log", environment, cwd=ROOT) as process:
        wait(process, lambda: (home / "plane.json").exists(), home / "up.log")
        address = json.loads((home / "plane.json").read_text())["address"]
        wait(process, lambda: answers(f"{address}/healthz"), home / "up.log")
        yield StockPlane(address, accounts.token, tokens)


# -- in a process of its own, with the settings of that plane -------------------------------------------------------
def prepare(update_file: Path, names: list[str]) -> dict[str, str]:
    """Release a model that was never trained, and assign it to new devices; their tokens."""
    from apps.fleet.devices.schemas import DeviceBody
    from apps.fleet.devices.services import assign_release, register_device
    from apps.gateways.hawkbit.services import attach_update_file
    from apps.platform.accounts.actors import build_actor_for_user
    from apps.platform.accounts.models import Project, User

    project = Project.objects.get(slug="demo")
    engineer, approver = (build_actor_for_user(User.objects.get(username=name)) for name in ("engineer", "approver"))
    release = issue(project, engineer)
    archive = store(project, update_file, update_file.name)
    attach_update_file(actor=approver, release=release, digest=archive.digest, name=update_file.name)
    tokens = {}
    for name in names:
        device, tokens[name] = register_device(
            actor=engineer, project=project, body=DeviceBody(name=name, architecture="x86_64")
        )
        assign_release(actor=engineer, device=device, release=release)
    return tokens


def issue(project, engineer):
    from apps.fleet.releases.services import issue_release
    from apps.ml.registry.models import Model, ModelVersion, Variant

    folder = Path(os.environ["PLANE_HOME"])
    artifacts = {}
    for name, data in (("model.onnx", b"a model"), ("model.json", b"{}")):
        (folder / name).write_bytes(data)
        artifacts[name] = store(project, folder / name, name)
    model = Model.objects.create(project=project, name="pump-noise", versions_count=1, created_by="engineer")
    version = ModelVersion.objects.create(
        model=model, number=1, digest="1" * 64, document="{}", task="regression", target="noise", created_by="engineer"
    )
    variant = Variant.objects.create(
        version=version,
        name="onnx",
        format="onnx",
        file="model.onnx",
        artifact=artifacts["model.onnx"],
        manifest=artifacts["model.json"],
        size=7,
    )
    return issue_release(actor=engineer, variant=variant, approval=approve(project, version), without_samples=True)


def approve(project, version):
    """The rows that asking and voting leave."""
    from django.utils import timezone

    from apps.platform.accounts.models import User
    from apps.platform.approvals.models import Approval, Vote

    now = timezone.now()
    approval = Approval.objects.create(
        project=project,
        subject_type="promotion",
        subject_id=str(version.pk),
        title="pump-noise v1",
        comment="please",
        requester="engineer",
        requester_user=User.objects.get(username="engineer"),
        facts="{}",
        facts_digest="0" * 64,
        needed=1,
        eligible=1,
        state="approved",
        deadline_at=now + timedelta(hours=1),
        decided_at=now,
    )
    vote = {"label": "approver", "decision": "approve", "reason": "good", "method": "password"}
    Vote.objects.create(approval=approval, facts_digest="0" * 64, user=User.objects.get(username="approver"), **vote)
    return approval


def store(project, path: Path, name: str):
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.platform.artifacts.services import store_file

    return store_file(actor=build_plane_actor(PlaneRole.WORKER), project=project, path=path, name=name)


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(prepare(Path(sys.argv[1]), sys.argv[2:])))
