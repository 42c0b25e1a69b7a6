"""Where the objects that records name have their pages. The trail lies below all of them: it knows only addresses."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import NoReverseMatch, reverse

# object type -> (name of its address, whether the project comes before the id)
ADDRESSES: Mapping[str, tuple[str, bool]] = {
    "job": ("jobs:detail", True),
    "pipeline": ("pipelines:detail", True),
    "sweep": ("sweeps:detail", True),
    "approval": ("approvals:detail", True),
    "run": ("experiments:detail", True),
    "rerun": ("reruns:detail", True),
    "datasetversion": ("datasets:by_id", True),
    "modelversion": ("registry:version_by_id", True),
    "variant": ("registry:variant_by_id", True),
    "verificationrun": ("audit:chain", False),
}


def get_object_url(object_type: str, object_id: str, slug: str = "") -> str:
    """The page of an object in the project `slug`; "" where it has none, or is of no project that the reader sees."""
    name, in_project = ADDRESSES.get(object_type, ("", True))
    if not name or (in_project and not slug):
        return ""
    args: list[str] = [slug, object_id] if in_project else []
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
