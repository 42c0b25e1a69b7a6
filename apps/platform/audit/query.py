"""What pages and programs read from a query string before they call a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.platform.audit.filters import Filters, read_filters

MAX_SEQ = 2**63 - 1


def list_readable_projects(actor: Actor) -> dict[str, int]:
    """Slug -> id of what the reader may see; who reads the whole trail sees every project in it.

    The trail lies below accounts: it asks by name, not by import.
    """
    projects = apps.get_model("accounts", "Project").objects
    readable = projects.all() if is_allowed(actor, "audit.view") else projects.visible_to(actor)
    return dict(readable.order_by("slug").values_list("slug", "pk"))


def parse_filters(actor: Actor, params: Mapping[str, Any], projects: Mapping[str, int] | None = None) -> Filters:
    """`projects`: those of `projects_of`, where they have been read already."""
    return read_filters(params, list_readable_projects(actor) if projects is None else projects)


def parse_export_request(actor: Actor, params: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `start_export`; Invalid names the field."""
    filters = parse_filters(actor, params)
    return {
        "from_seq": parse_export_number(params, "from_seq"),
        "to_seq": parse_export_number(params, "to_seq"),
        "project_id": filters.project_id,
        "filters": filters,
        "reason": str(params.get("reason") or "")[:2000],
    }


def parse_export_number(params: Mapping[str, Any], name: str) -> int | None:
    text = str(params.get(name) or "").strip()
    if not text:
        return None
    if (number := parse_int(text, 1, MAX_SEQ)) is None:
        raise Invalid(
            "{name} {text!r} is no record number.", name=name, text=text[:40], field=name, limit="a whole number from 1"
        )
    return number
