"""How the pages of the trail show what was asked for: the filters, and each of them as a chip that takes it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apps.core.errors import Invalid
from apps.platform.audit.models import Result
from apps.platform.audit.naming.actions import KNOWN_ACTIONS
from deepseek.messages import N_

NAMES = ("actor", "action", "project", "result", "from", "to", "object_type", "object_id", "request", "job", "record")
RARE = ("object_type", "object_id", "request", "job", "record")  # behind "More filters", until one is set
SENTENCES_MODE, TABLE_MODE = "sentences", "table"  # how the page shows the records: `mode` in its address
OFFLINE = (
    "python3 verify.py audit-1-1000.jsonl",
    "python3 verify.py audit-1-1000.jsonl --public-key audit_ed25519.pub.pem --checkpoint checkpoints.jsonl",
)


def build_filter_bar(query: QueryDict, projects: Mapping[str, int], about: Mapping[str, str]) -> dict[str, Any]:
    """`filters` and `rare`, as templates/audit/filters.html draws them, and `chips`; no object on an object's page."""
    every = {
        filter_field["name"]: filter_field
        for filter_field in (build_filter_field(name, query.get(name, ""), projects) for name in NAMES)
    }
    hidden = {*about, *(() if projects else ("project",))}
    set_fields = [filter_field for name, filter_field in every.items() if filter_field["value"] and name not in hidden]
    return {
        "filters": [filter_field for name, filter_field in every.items() if name not in RARE and name not in hidden],
        "rare": [filter_field for name, filter_field in every.items() if name in RARE and name not in hidden],
        "rare_open": any(filter_field["name"] in RARE for filter_field in set_fields),
        "chips": [{**filter_field, "url": remove_filter(query, filter_field["name"])} for filter_field in set_fields],
        "active": bool(set_fields),
    }


def build_filter_field(name: str, value: str, projects: Mapping[str, int]) -> dict[str, Any]:
    filter_field: dict[str, Any] = {"name": name, "label": get_filter_labels()[name], "value": value}
    if name == "result":
        words = {Result.DONE: _("Done"), Result.REFUSED: _("Refused"), Result.FAILED: _("Failed")}
        filter_field["choices"] = [("", _("Every result")), *((result.value, word) for result, word in words.items())]
        filter_field["word"] = words.get(value, value)
    elif name == "project":
        filter_field["choices"] = [("", _("Every project")), *((slug, slug) for slug in projects)]
    elif name in ("from", "to"):
        filter_field["type"] = "datetime-local" if "T" in value or " " in value else "date"
    elif name == "action":
        filter_field["placeholder"] = _("Action, like job.")
        filter_field["suggestions"] = list_actions()
    return filter_field


def list_actions() -> list[str]:
    """Actions to choose from, each family before its own; any other can be typed."""
    families = sorted({action.partition(".")[0] for action in KNOWN_ACTIONS})
    return [
        suggestion
        for family in families
        for suggestion in (f"{family}.", *(action for action in KNOWN_ACTIONS if action.startswith(f"{family}.")))
    ]


def get_filter_labels() -> dict[str, str]:
    return {
        "actor": _("Who"),
        "action": _("Action"),
        "project": _("Project"),
        "result": _("Result"),
        "from": pgettext("day", "From"),
        "to": pgettext("day", "To"),
        "object_type": _("Kind of object"),
        "object_id": _("Its id"),
        "request": _("Request"),
        "job": _("Job"),
        "record": _("Record"),
    }


def parse_mode(query: QueryDict) -> str:
    """How the records are shown: as sentences, unless the address asks for the table."""
    mode = query.get("mode") or SENTENCES_MODE
    if mode not in (SENTENCES_MODE, TABLE_MODE):
        raise Invalid(
            "There is no mode {mode!r}.",
            mode=mode[:40],
            field="mode",
            limit=f"{SENTENCES_MODE}, {TABLE_MODE}",
            hint=N_("Take one of these."),
        )
    return mode


def remove_filter(query: QueryDict, name: str) -> str:
    """The query without one filter, from the first page on."""
    left = query.copy()
    for key in (name, "cursor"):
        left.pop(key, None)
    return f"?{left.urlencode()}"


def build_rest_url(query: QueryDict, about: Mapping[str, str]) -> str:
    """The REST address of the same records."""
    params = {name: value for name in NAMES if (value := query.get(name, ""))} | dict(about)
    return f"/api/v1/audit/records?{urlencode(params)}" if params else "/api/v1/audit/records"
