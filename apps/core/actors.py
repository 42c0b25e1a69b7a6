"""Who acts. One frozen value goes into every service and every `visible_to`; it carries its rights with it.

It is resolved once per request (or once per claim) by apps.platform.accounts.actors; the policy then needs no query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class ProjectRole(StrEnum):
    """What a member may do in one project. Roles do not contain each other: the table in policy.py is whole."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    APPROVER = "approver"


class SystemRole(StrEnum):
    """The three administrators of GB/T 22239-2019, kept apart from each other and from project roles."""

    SYSTEM_ADMIN = "system_admin"
    SECURITY_ADMIN = "security_admin"
    AUDITOR = "auditor"


class PlaneRole(StrEnum):
    """Parts of the plane itself; no person and no token ever holds one."""

    WORKER = "worker"
    DISPATCHER = "dispatcher"
    OPERATOR = "operator"  # a management command, run by whoever owns the machine


class DeviceRole(StrEnum):
    """What programs outside the plane hold in the one project that let them in; no person ever holds one."""

    DEVICE = "device"  # sends its own token: it reports of itself
    ENROLMENT = "enrolment"  # sends an enrolment token: it becomes a device


class NodeRole(StrEnum):
    """What a machine of the fleet holds that sends its own token; no person ever holds it."""

    NODE = "node"  # it reports of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    kind: str  # "user" | "service_account" | "plane" | "device" | "enrolment" | "node" | "anonymous"
    label: str = ""  # shown and recorded: user name, service account name, "worker@host"
    user_id: int | None = None
    service_account_id: int | None = None
    token_id: int | None = None
    scopes: frozenset[str] | None = None  # None: no token, no narrowing
    system_role: SystemRole | None = None
    plane_role: PlaneRole | None = None
    project_roles: Mapping[int, frozenset[ProjectRole | DeviceRole]] = field(default_factory=dict)
    clearance: int = 0  # the highest security label of a project or dataset that a person or service account may see
    address: str = ""
    request_id: str = ""
    job_id: int | None = None
    run_id: str = ""  # not empty: a script's token, which reads and writes this run and nothing else
    device_id: int | None = None  # of a device: it reads and writes what is its own and nothing else
    node_id: int | None = None  # of a node: likewise
    emergency_id: int | None = None  # of the emergency grant that is in force for this person
    emergency_roles: frozenset[SystemRole] = frozenset()  # that it adds for a time; policy.NEVER_BY_EMERGENCY limits it

    @property
    def is_anonymous(self) -> bool:
        return self.kind == "anonymous"

    @property
    def is_cleared_for_all(self) -> bool:
        """Labels bind people and service accounts, not the plane's own processes, devices and nodes."""
        return self.plane_role is not None or self.kind not in {"user", "service_account", "anonymous"}

    @property
    def project_ids(self) -> frozenset[int]:
        return frozenset(self.project_roles)

    def get_roles_in(self, project_id: int | None) -> frozenset[ProjectRole | DeviceRole]:
        return self.project_roles.get(project_id, frozenset()) if project_id is not None else frozenset()

    def with_job(self, job_id: int) -> Actor:
        """The same actor, acting on behalf of a job: the audit records carry the job's id."""
        return replace(self, job_id=job_id)

    def as_record(self) -> dict[str, Any]:
        """What the audit body says of the actor."""
        emergency = {} if self.emergency_id is None else {"emergency": self.emergency_id}
        return {
            "kind": self.kind,
            "label": self.label,
            "user": self.user_id,
            "service_account": self.service_account_id,
            "token": self.token_id,
            **emergency,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, address: str = "") -> Actor:
        """Whom `as_record` told of, for a record that is written later: without any right."""
        return cls(
            kind=record["kind"],
            label=record["label"],
            user_id=record["user"],
            service_account_id=record["service_account"],
            token_id=record["token"],
            address=address,
        )


ANONYMOUS = Actor(kind="anonymous", label="anonymous")


def build_plane_actor(role: PlaneRole, *, host: str = "", job_id: int | None = None) -> Actor:
    """The actor of one of the plane's own processes, for instance `worker@gpu-01`."""
    return Actor(kind="plane", label=f"{role.value}@{host}" if host else role.value, plane_role=role, job_id=job_id)
