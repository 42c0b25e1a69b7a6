"""Check a collection spec against the hosts that the operator allows, before the job is queued."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from deepseek.collect.spec import CollectSpec, find_uncovered
from deepseek.messages import Message

HOSTS_SETTING = "COLLECT_HOSTS"


def check_hosts(spec: CollectSpec) -> list[dict[str, Any]]:
    """One error per host off the list. The engine holds its worker's own list against it, in the same words."""
    allowed = settings.ENV.collect_hosts
    if not allowed:
        return [
            {
                "code": "collection_off",
                "message": Message("Collection is off on this plane: {setting} names no host.", setting=HOSTS_SETTING),
                "field": "/spec/allowed_hosts",
                "limit": "none",
                "hint": Message(
                    "Have the operator set {setting} to the internal hosts that may be collected from.",
                    setting=HOSTS_SETTING,
                ),
            }
        ]
    return [
        {
            "code": "host_not_allowed",
            "message": Message("The host {host} is not on the list of hosts that may be collected from.", host=host),
            "field": f"/spec/allowed_hosts/{index}",
            "limit": ", ".join(allowed),
            "hint": Message(
                "Take a host of the list, or have the operator add {host} to {setting}.",
                host=host,
                setting=HOSTS_SETTING,
            ),
        }
        for index in find_uncovered(spec.allowed_hosts, allowed)
        for host in (spec.allowed_hosts[index],)
    ]
