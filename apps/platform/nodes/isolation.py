"""How far a node locks its jobs in, in words: what its worker tried and reported as `hardware["isolation"]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.platform.nodes.models import Node

MAX_USERS = 1024  # that attempts of a node may have (workers/isolation.py)


@dataclass(frozen=True, slots=True)
class IsolationSummary:
    """`is_weak`: jobs run there without a sandbox. `reasons`: what was tried in vain, as the kernel said it."""

    short: str
    user: str
    files: str
    networks: list[str]
    scripts: str
    missing: list[str]
    reasons: list[str]
    remedy: str
    is_weak: bool


def summarize_isolation(node: Node) -> IsolationSummary | None:
    """None: a worker of an older version did not tell."""
    report: dict[str, Any] = (node.hardware or {}).get("isolation") or {}
    way, user = report.get("way"), report.get("user")
    if way not in ("root", "user", "none"):
        return None
    reasons = [str(each.get("reason", "")) for each in report.get("why_not", [])]
    scripts = describe_scripts(report)
    networks = [str(name) for name in report.get("networks", [])]
    if way == "none":
        return IsolationSummary(
            short=_("None"),
            user=_("the worker's"),
            files=_("all that the worker's user can read"),
            networks=[_("that of the machine")],
            scripts=scripts,
            missing=[],
            reasons=reasons,
            remedy=_(
                "Let the worker make user namespaces: user.max_user_namespaces above 0, and neither AppArmor nor the"
                " container's seccomp profile in the way. ISOLATION=required keeps jobs off such a node."
            ),
            is_weak=True,
        )
    if user is not None:
        whose = _("one for each job, %(first)d to %(last)d") % {"first": user, "last": user + MAX_USERS - 1}
    elif way == "root":
        whose = _("the worker's, root, without its rights")
    else:
        whose = _("the worker's, in a user namespace")
    return IsolationSummary(
        short=_("Own files, network and user") if user is not None else _("Own files and network"),
        user=whose,
        files=_("its scratch folder and the system, read-only; not the plane's"),
        networks=networks,
        scripts=scripts,
        missing=[str(text) for text in report.get("missing", [])],
        reasons=reasons,
        remedy=_("Install the interpreter where every user can read it, or set ENGINE_UID.") if reasons else "",
        is_weak=False,
    )


def describe_scripts(report: dict[str, Any]) -> str:
    """How the node runs code of its users."""
    if report.get("scripts_unlocked"):
        return _("run without a sandbox: SCRIPT_SANDBOX=off")
    if report.get("way") == "none" or report.get("no_processes", "unknown"):
        return _("refused: they cannot be locked in here")
    return _("run in a sandbox with processes of their own")
