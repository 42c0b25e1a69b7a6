"""Isolation in words: statuses, attempts, and the form of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

STATES = {"refused": "succeeded", "passed": "failed", "unknown": "note", "stale": "note", "never": "note"}
"""The state by whose colour and sign a status is drawn."""


def describe_status(status: str) -> str:
    return {
        "refused": _("All refused"),
        "passed": _("Came through"),
        "unknown": pgettext("probes of a node", "Unknown"),
        "stale": _("Out of date"),
        "never": _("Never probed"),
    }.get(status, status)


def describe_result(result: Mapping[str, Any]) -> str:
    """One attempt and who refused it."""
    target = str(result["target"]) + (f":{result['port']}" if result.get("port") else "")
    attempt = f"{result['kind']} {result['protocol']} {target}"
    if result["verdict"] == "passed":
        return _("%(attempt)s: came through") % {"attempt": attempt}
    if result["verdict"] == "unknown":
        return _("%(attempt)s: unknown") % {"attempt": attempt}
    by = {
        "rule": _("rule %(name)s") % {"name": result.get("rule", "")},
        "no_route": _("no route"),
        "error": _("another rule of the node"),
        "resolver": _("the name servers"),
    }.get(str(result.get("refused_by")), "")
    details = ", ".join(filter(None, (by, str(result.get("error", "")))))
    return _("%(attempt)s: refused (%(details)s)") % {"attempt": attempt, "details": details}


def parse_policy_form(sent: Mapping[str, str]) -> dict[str, Any]:
    """The document of what was typed: a network, a name or a port rule on each line."""
    return {
        "networks": split_lines(sent.get("networks", "")),
        "names": split_lines(sent.get("names", "")),
        "ports": [parse_port_line(line) for line in split_lines(sent.get("ports", ""))],
        "forwarded": sent.get("forwarded") == "true",
    }


def split_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse_port_line(line: str) -> dict[str, Any]:
    """`10.20.0.53 udp 53 8000-8100` as a rule."""
    to, *words = line.replace(",", " ").split()
    protocol = words[0].lower() if words and not words[0][0].isdigit() else "tcp"
    return {"to": to, "protocol": protocol, "ports": words[1:] if words and words[0].lower() == protocol else words}


def format_policy_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows of a policy."""
    rules = (f"{rule['to']} {rule['protocol']} {' '.join(rule['ports'])}" for rule in document.get("ports", ()))
    return {
        "networks": "\n".join(document.get("networks", ())),
        "names": "\n".join(document.get("names", ())),
        "ports": "\n".join(rules),
        "forwarded": "true" if document.get("forwarded") else "",
    }


def build_form_fields(values: Mapping[str, Any], errors: Mapping[str, str]) -> list[dict[str, Any]]:
    """The fields of the form with their values and faults."""
    fields = (
        ("networks", _("Networks"), "textarea", _("One on each line, such as 192.168.1.0/24 or fd00:1::/64.")),
        ("names", _("Names"), "textarea", _("One on each line. Every node looks up the addresses.")),
        ("ports", _("Ports"), "textarea", _("One destination on each line, such as 10.20.0.53 udp 53.")),
        (
            "forwarded",
            _("Refuse what containers send too"),
            "checkbox",
            _("Their networks have to be named above, or nobody reaches their services."),
        ),
        ("reason", _("Reason"), "text", _("Recorded in the audit trail as written.")),
    )
    return [
        {
            "pointer": name,
            "label": label,
            "control": control,
            "doc": doc,
            "value": values.get(name, ""),
            "error": errors.get(name, ""),
            "required": name == "reason",
        }
        for name, label, control, doc in fields
    ]
