"""What an attempt of a site's job needs: that the approval still stands, and the node that keeps the study's folder."""

from __future__ import annotations

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.ml.federation.models import SiteStudy
from apps.ml.federation.notices import notify_site_void
from apps.ml.federation.states import SiteStudyState
from apps.platform.approvals.differences import find_changes
from apps.platform.approvals.validation import build_void_error
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node


def confirm_participation(*, actor: Actor, job: Job) -> None:
    """Compare what was approved with what stands now, before each attempt of a site's job; a job of no study that runs
    passes, and gets no keys (identity.py).

    Raises Conflict `approval_void`, which names what has changed: the approval is void now.
    """
    require(actor, "federation.record", job)
    fault: PlaneError | None = None
    with transaction.atomic(durable=True):  # durable: a void must not roll back with the error that it raises
        row = find_running_row(job)
        if row is None or row.approval is None:
            return
        if changes := find_changes(row.approval):
            fault = build_void_error(changes)
            change_state(row, SiteStudyState.VOID, actor=actor, reason=fault.message)
            notify_site_void(row, actor)
    if fault is not None:
        raise fault


def bind_home(*, actor: Actor, job: Job, node: Node) -> Node:
    """The node whose folder has the state of the study: `node` from now on, unless another one has it already."""
    require(actor, "federation.record", job)
    with transaction.atomic():
        row = find_running_row(job)
        if row is None:
            return node
        if row.home_node is None:
            set_home_node(actor, row, node)
        return row.home_node or node


def release_home(*, actor: Actor, job: Job, node: Node) -> None:
    """Let another node begin the study: nothing has left from `node`, and its folder has no state."""
    require(actor, "federation.record", job)
    with transaction.atomic():
        row = find_running_row(job)
        if row is not None and row.home_node_id == node.pk and not row.ledger.exists():
            set_home_node(actor, row, None)


def set_home_node(actor: Actor, row: SiteStudy, node: Node | None) -> None:
    before = {"home_node": row.home_node.name if row.home_node else ""}
    row.home_node = node
    row.save(update_fields=["home_node"])
    after = {"home_node": node.name if node else ""}
    record(actor=actor, action="federation.bind_home", obj=row, before=before, after=after)


def find_running_row(job: Job) -> SiteStudy | None:
    """The study by which a site's job takes part, locked; None for a job of no study that runs."""
    rows = SiteStudy.objects.select_for_update(of=("self",)).select_related("project", "approval__project", "home_node")
    return rows.filter(job=job, state=SiteStudyState.RUNNING).first()
