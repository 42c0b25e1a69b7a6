"""Standings as the cells of a table and of a file: a value that changed during the day with the times between."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.platform.access_history.changes import Property
from apps.platform.access_history.queries import HolderAnswer
from apps.platform.access_history.standings import ABSENT, DISABLED, EXPIRED, WORKING, Standing, get_token_end

NOTHING = "–"


def merge_cell(answer: HolderAnswer, describe: Callable[[HolderAnswer, Standing], str]) -> str:
    """The value, or `value (00:00 to 09:30); other (09:30 to 24:00)` where it changed."""
    spans: list[tuple[str, Standing, Standing]] = []
    for standing in answer.standings:
        text = describe(answer, standing) or NOTHING
        if spans and spans[-1][0] == text:
            spans[-1] = (text, spans[-1][1], standing)
        else:
            spans.append((text, standing, standing))
    if len(spans) == 1:
        return "" if spans[0][0] == NOTHING else spans[0][0]
    return "; ".join(
        _("%(value)s (%(start)s to %(end)s)")
        % {"value": text, "start": format_clock(first), "end": format_clock(last, end=True)}
        for text, first, last in spans
    )


def format_clock(standing: Standing, *, end: bool = False) -> str:
    at = (standing.until or standing.since) if end else standing.since
    text = f"{timezone.localtime(at):%H:%M:%S}".removesuffix(":00")
    return "24:00" if end and text == "00:00" else text


def describe_access(answer: HolderAnswer, standing: Standing) -> str:
    if standing.access == WORKING and not standing.is_confirmed:
        return _("active, decides nothing: credentials unconfirmed")
    return {
        WORKING: _("active"),
        DISABLED: _("disabled"),
        EXPIRED: _("expired"),
        ABSENT: _("not created yet"),
    }[standing.access]


def describe_system_role(answer: HolderAnswer, standing: Standing) -> str:
    return standing.system_role


def describe_roles(answer: HolderAnswer, standing: Standing) -> str:
    """`demo: approver, engineer`, with the projects that the clearance did not reach marked."""
    by_project: dict[int, list[str]] = {}
    for project_id, role in standing.roles:
        by_project.setdefault(project_id, []).append(role)
    texts = []
    for project_id, roles in by_project.items():
        text = f"{answer.get_slug(project_id)}: {', '.join(sorted(roles))}"
        hidden = project_id not in standing.visible_projects
        texts.append(_("%(roles)s (above the clearance)") % {"roles": text} if hidden else text)
    return ", ".join(sorted(texts))


def describe_tokens(answer: HolderAnswer, standing: Standing) -> str:
    return ", ".join(
        f"{token.name} {token.prefix}… {answer.get_slug(token.project_id)} [{' '.join(token.scopes)}]"
        for token in standing.tokens
    )


def describe_emergency(answer: HolderAnswer, standing: Standing) -> str:
    return ", ".join(
        f"#{grant.pk} {grant.role}" + (f" {answer.get_slug(grant.project_id)}" if grant.project_id else "")
        for grant in standing.emergency
    )


def describe_clearance(answer: HolderAnswer, standing: Standing) -> str:
    return standing.clearance


def describe_proof(answer: HolderAnswer) -> str:
    """ "" where records prove all of it, else what they do not."""
    keys = sorted({key for standing in answer.standings for key in standing.unproven}, key=str)
    return ", ".join(describe_property(answer, key) for key in keys)


def describe_property(answer: HolderAnswer, key: Property) -> str:
    name, project_id, role = key
    if name == "role":
        return f"{answer.get_slug(project_id)}: {role}"
    return {
        "creation": _("creation"),
        "active": _("whether active"),
        "expires_at": _("end of the account"),
        "system_role": _("system role"),
        "clearance": _("clearance"),
    }[name]


def describe_standing(answer: HolderAnswer, standing: Standing) -> dict[str, object]:
    """For REST."""
    return {
        "since": standing.since,
        "until": standing.until,
        "access": standing.access,
        "decides": standing.is_confirmed,
        "system_role": standing.system_role,
        "roles": [
            {
                "project": answer.get_slug(project_id),
                "role": role,
                "cleared": project_id in standing.visible_projects,
            }
            for project_id, role in standing.roles
        ],
        "tokens": [
            {
                "prefix": token.prefix,
                "name": token.name,
                "project": answer.get_slug(token.project_id),
                "scopes": token.scopes,
                "ended_at": get_token_end(token),
            }
            for token in standing.tokens
        ],
        "emergency": [
            {
                "grant": grant.pk,
                "role": grant.role,
                "project": answer.get_slug(grant.project_id) if grant.project_id else None,
            }
            for grant in standing.emergency
        ],
        "clearance": standing.clearance,
        "unproven": [describe_key(answer, key) for key in standing.unproven],
    }


def describe_key(answer: HolderAnswer, key: Property) -> str:
    name, project_id, role = key
    return f"role {role} in {answer.get_slug(project_id)}" if name == "role" else name
