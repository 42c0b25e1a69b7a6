"""DIRECTORY_ROLES: which groups of a directory give which roles, as `GROUP=ROLE` and `GROUP=ROLE@PROJECT`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apps.core.actors import ProjectRole, SystemRole


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRole:
    """`project` is empty for the role of an administrator, which is of the plane."""

    group: str
    role: str
    project: str


def parse_group_role(entry: str) -> GroupRole:
    """ValueError in words for what is written otherwise."""
    group, _, target = entry.rpartition("=")
    role, _, project = target.partition("@")
    system, members = [each.value for each in SystemRole], [each.value for each in ProjectRole]
    if not group or role not in (members if project else system):
        raise ValueError(
            f"{entry!r} is not written as GROUP=ROLE ({', '.join(system)}) or GROUP=ROLE@PROJECT ({', '.join(members)})"
        )
    return GroupRole(group=group, role=role, project=project)


def list_system_roles(entries: Iterable[str], groups: Iterable[str]) -> set[str]:
    """The administrators' roles that these groups give."""
    member_of = set(groups)
    rules = map(parse_group_role, entries)
    return {rule.role for rule in rules if not rule.project and rule.group in member_of}


def list_managed_system_roles(entries: Iterable[str]) -> set[str]:
    """Those that the directory gives, and so takes away."""
    return {rule.role for rule in map(parse_group_role, entries) if not rule.project}


def group_project_roles(entries: Iterable[str], groups: Iterable[str]) -> dict[str, set[str]]:
    """Roles by project; a project that the list names is the directory's to fill: without a group there, none."""
    member_of, roles = set(groups), dict[str, set[str]]()
    for rule in map(parse_group_role, entries):
        if rule.project:
            project_roles = roles.setdefault(rule.project, set())
            if rule.group in member_of:
                project_roles.add(rule.role)
    return roles
