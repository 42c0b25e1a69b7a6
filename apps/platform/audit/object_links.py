"""Where the objects that records name have their pages. The trail lies below all of them: it knows only addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from apps.core.actors import Actor
from apps.core.policy import InProject, is_allowed


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    route: str
    action: str  # of the policy: what it takes to open the page
    is_in_project: bool = True


ADDRESSES: Mapping[str, ObjectAddress] = {
    "job": ObjectAddress("jobs:detail", "job.view"),
    "pipeline": ObjectAddress("pipelines:detail", "pipeline.view"),
    "sweep": ObjectAddress("sweeps:detail", "sweep.view"),
    "approval": ObjectAddress("approvals:detail", "approval.view"),
    "run": ObjectAddress("experiments:detail", "run.view"),
    "rerun": ObjectAddress("reruns:detail", "run.view"),
    "datasetversion": ObjectAddress("datasets:by_id", "dataset.view"),
    "modelversion": ObjectAddress("registry:version_by_id", "model.view"),
    "variant": ObjectAddress("registry:variant_by_id", "model.view"),
    "rollout": ObjectAddress("rollouts:detail", "rollout.view"),
    "recall": ObjectAddress("recalls:detail", "recall.view"),
    "device": ObjectAddress("devices:detail", "device.view"),
    "campaign": ObjectAddress("recertification:campaign", "recertification.view", is_in_project=False),
    "emergencygrant": ObjectAddress("emergency:detail", "emergency.view", is_in_project=False),
    "verificationrun": ObjectAddress("audit:chain", "audit.view", is_in_project=False),
}


@dataclass(frozen=True, slots=True)
class ObjectLinks:
    """Addresses of objects for one reader, only of pages that the reader may open: a refusal is a record of its own."""

    actor: Actor
    slugs: Mapping[int, str]  # id -> slug of the projects whose records the reader sees

    def get_url(self, object_type: str, object_id: str, project_id: int | None) -> str:
        """The page of an object; "" where it has none that this reader may open."""
        address = ADDRESSES.get(object_type)
        slug = self.slugs.get(project_id, "") if project_id else ""
        if address is None or (address.is_in_project and not slug):
            return ""
        about = InProject(project_id) if project_id else None
        if not is_allowed(self.actor, address.action, about if address.is_in_project else None):
            return ""
        args = [slug] if address.is_in_project else []
        try:
            return reverse(address.route, args=[*args, object_id] if address.route != "audit:chain" else args)
        except NoReverseMatch:
            return ""
