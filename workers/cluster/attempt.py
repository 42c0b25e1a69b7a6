"""An attempt whose partitions the workers of the operator's Dask cluster share.

Its scratch lies in CLUSTER_FOLDER, which these workers have under the same path: inputs, what travels between tasks and
the outputs are files there. It runs as the owner of that folder, as the cluster's workers do. The way to the scheduler
is the only one out of its sandbox; the key for it is in a folder of this node.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.errors import PlaneError
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from deepseek.messages import N_
from deepseek.partitions.cluster import CLUSTER, LABEL
from deepseek.partitions.cluster_address import is_encrypted
from deepseek.partitions.nodes.membership import AUTHORITY_FILE, CERTIFICATE_FILE, CREDENTIALS, KEY_FILE
from workers.attempt_slots import AttemptSlot
from workers.isolation import get_scratch_root
from workers.runner import Attempt

REMOVALS, REMOVAL_PAUSE_SECONDS = 5, 0.2  # of the scratch folder, which tasks of the ended engine may still write to


class ClusterAttempt(Attempt):
    """The attempt of a job with `cluster` in its spec."""

    @property
    def credentials(self) -> Path:
        """The folder of the certificates, on this node alone."""
        return get_scratch_root() / self.scratch_name

    def choose_scratch(self) -> Path:
        return Path(settings.ENV.cluster_folder) / f"{settings.ENV.node}-{self.scratch_name}"

    def make_scratch(self) -> None:
        """Make both folders. OSError where the shared one is away: it is not made here, where nobody else sees it."""
        if not settings.ENV.cluster_address:
            raise PlaneError(
                "The node {node} has no cluster.",
                node=settings.ENV.node,
                code="extra_missing",
                field="/spec/cluster",
                limit="CLUSTER_ADDRESS",
                hint=N_("Set CLUSTER_ADDRESS and CLUSTER_FOLDER of its worker, or leave the cluster out."),
            )
        self.scratch.mkdir(mode=0o700)
        self.credentials.mkdir(parents=True, mode=0o700)
        if is_encrypted(settings.ENV.cluster_address):
            stage_credentials(self.credentials)

    def remove_scratch(self) -> None:
        """Remove both folders. What a worker of the cluster began before the engine ended may still write to the shared
        one, which then is not empty when it should go; once it is gone, nothing can be written there."""
        for _ in range(REMOVALS):
            super().remove_scratch()
            if not os.path.lexists(self.scratch):  # nor can it be removed where the file system is away
                break
            time.sleep(REMOVAL_PAUSE_SECONDS)
        shutil.rmtree(self.credentials, ignore_errors=True)

    def plan(self, place: AttemptSlot) -> dict[str, Any]:
        """The sandbox, with the way to the scheduler and no other."""
        plan = super().plan(place)
        sandbox = plan["sandbox"]
        sandbox["writable"] = [str(self.credentials)]
        if sandbox["user"] is not None:
            sandbox["user"] = find_owner()
        if sandbox["way"] != "none":
            target = urlsplit(settings.ENV.cluster_address).netloc
            plan["connect"] = {"wanted": [target], "allowed": [target]}
        return plan

    def get_engine_settings(self) -> dict[str, str]:
        own = {CLUSTER: settings.ENV.cluster_address, LABEL: self.scratch.name}
        if is_encrypted(settings.ENV.cluster_address):
            own[CREDENTIALS] = str(self.credentials)
        return super().get_engine_settings() | own


def find_owner() -> int | None:
    """The user that the engine runs as: the owner of the shared folder. None: root, where ENGINE_UID=0 lets all engines
    run as root; else such a folder is refused."""
    owner = Path(settings.ENV.cluster_folder).stat().st_uid
    if owner == 0 and settings.ENV.engine_uid:
        raise PlaneError(
            "CLUSTER_FOLDER of the node {node} belongs to root, and no job runs as root.",
            node=settings.ENV.node,
            code="sandbox_missing",
            field="/spec/cluster",
            limit="a folder of another user",
            hint=N_("Have the operator give the folder to the user that runs the cluster's workers."),
        )
    return owner or None


def is_on_cluster(job: Job) -> bool:
    """Whether the workers of a cluster share the job's partitions."""
    return KINDS[job.kind].partitioned and bool(json.loads(job.spec).get("cluster"))


def stage_credentials(folder: Path) -> None:
    """Copy the files of the settings into the folder, readable by its owner alone."""
    env = settings.ENV
    sources = {
        AUTHORITY_FILE: env.cluster_authorities,
        CERTIFICATE_FILE: env.cluster_certificate,
        KEY_FILE: env.cluster_certificate_key or env.cluster_certificate,
    }
    for name, source in sources.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Path(source).read_bytes())
