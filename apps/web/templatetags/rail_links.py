"""The links of the rail: the sections that exist, those that a phone shows, and the keys that lead there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.template.context import Context
from django.urls import get_script_prefix
from django.utils.translation import gettext_lazy as _

from apps.web.templatetags.cached_tags import find_first_address

# key, word, icon, names under which the list may be known; those without a url yet are left out of the rail
RAIL: Sequence[tuple[str, Any, str, tuple[str, ...]]] = (
    ("home", _("Home"), "home", ("project_home", "home")),
    ("approvals", _("Approvals"), "held", ("approvals:list",)),
    ("data", _("Data"), "data", ("datasets:list", "datasets", "data")),
    ("jobs", _("Jobs"), "jobs", ("jobs:list", "jobs")),
    ("experiments", _("Experiments"), "cols", ("experiments:experiments",)),
    ("runs", _("Runs"), "runs", ("experiments:list", "experiments:runs", "runs")),
    ("models", _("Models"), "models", ("registry:list", "models")),
    ("endpoints", _("Endpoints"), "play", ("endpoints:list",)),
    ("monitoring", _("Monitoring"), "eye", ("monitoring:list",)),
    ("devices", _("Devices"), "devices", ("devices:list", "devices")),
    ("rollouts", _("Rollouts"), "rollouts", ("rollouts:list", "rollouts")),
    ("nodes", _("Nodes"), "nodes", ("nodes:list", "nodes")),
    ("schedules", _("Schedules"), "waiting", ("plane_schedules:list",)),
    ("packages", _("Packages"), "file", ("packages:list", "packages")),
    ("people", _("People"), "user", ("accounts:people",)),
    ("audit", _("Audit"), "audit", ("audit:list", "audit")),
)
RAIL_BREAKS = frozenset({"data", "models", "devices", "nodes"})  # each begins a group
RAIL_KEYS: Mapping[str, str] = {
    "home": "h",
    "approvals": "a",
    "data": "d",
    "jobs": "j",
    "experiments": "x",
    "runs": "r",
    "models": "m",
    "endpoints": "e",
    "monitoring": "o",
    "devices": "v",
    "rollouts": "l",
    "nodes": "n",
    "people": "p",
    "audit": "t",
}
"""What is pressed after g to go there."""
RAIL_ON_PHONE = ("home", "approvals", "data", "jobs", "people", "nodes", "audit")
MAX_ON_PHONE = 4  # of these, the first that the reader has; the others are under More


def build_rail(context: Context) -> list[dict[str, Any]]:
    """The sections that exist, for the rail; ``rail_urls`` in the context (key -> address) overrides the look-up."""
    request = context.get("request")
    project = getattr(request, "project", None)
    urls: Mapping[str, str] = context.get("rail_urls") or {}
    hidden = context.get("rail_hidden") or ()
    sections = []
    for key, label, glyph, names in RAIL:
        if key in hidden:
            continue
        url = urls.get(key) or find_first_url(names, getattr(project, "slug", None))
        if url:
            more = {"begins": key in RAIL_BREAKS, "go": RAIL_KEYS.get(key, "")}
            sections.append({"key": key, "label": label, "icon": glyph, "url": url, "phone": False, **more})
    for key in [key for key in RAIL_ON_PHONE if any(section["key"] == key for section in sections)][:MAX_ON_PHONE]:
        next(section for section in sections if section["key"] == key)["phone"] = True
    return sections


def find_first_url(names: Sequence[str], slug: str | None) -> str:
    """The address of the first name that has one, within the project when there is one; "" if none has."""
    return find_first_address(get_script_prefix(), tuple(names), slug)
