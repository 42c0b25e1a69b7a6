"""What waits for a person: decisions and remedies that nobody else will take. Home lists it, the rail counts it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Case, Q, QuerySet, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.platform.accounts.models import ApiToken, CredentialChange, User
from apps.platform.approvals import queries as approvals
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.subjects import get_subject_summary
from apps.platform.audit.models import AuditRecord, Result
from apps.platform.nodes.models import Node
from apps.platform.notices.queries import query_unread

log = logging.getLogger(__name__)
EXPIRY_WARNING = timedelta(days=7)  # a token that ends within this wants a successor
MAX_ITEMS = 20
PLACEHOLDER_ID = -1_000  # no id is negative
MAX_APPROVALS = 8  # each with its facts, which may be long
MAX_OPEN_READ = 2 * MAX_APPROVALS  # with the reader's own requests


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionItem:
    """One thing to do: what, why, and the page with the button."""

    title: str
    text: str
    url: str
    action: str
    state: str = "held"
    facts: str = ""  # what is decided about, in one sentence
    until: datetime | None = None  # after which nobody can any more

    @property
    def left(self) -> timedelta | None:
        """How long there is."""
        return max(self.until - timezone.now(), timedelta()) if self.until else None


def count_action_items(actor: Actor) -> int:
    """How many things `list_action_items` would list."""
    is_auditor = actor.system_role == SystemRole.AUDITOR
    return count_waiting(actor, is_chain_broken=is_auditor and is_chain_broken())[0]


def count_waiting(actor: Actor, *, is_chain_broken: bool) -> tuple[int, int]:
    """(what `list_action_items` would list, notices that are not read), for the frame; one query."""
    duties: list[QuerySet[Any]] = []
    if actor.system_role == SystemRole.SYSTEM_ADMIN:
        duties = [list_unavailable_nodes(actor)]
    elif actor.system_role == SystemRole.SECURITY_ADMIN:
        duties = [list_people_without_role(), list_unconfirmed_people(actor)]
    elif actor.system_role == SystemRole.AUDITOR:
        duties = [list_unconfirmed_people(actor)]
    count, unread = count_with_notices(actor, duties)
    return count + (is_chain_broken and actor.system_role == SystemRole.AUDITOR), unread


def list_action_items(actor: Actor, pending: Sequence[Approval] | None = None) -> list[ActionItem]:
    """Everything that waits for this person, the most pressing first.

    `pending`: what `list_open_approvals` has read, where the page needs the reader's own requests too.
    """
    rows = list_open_approvals(actor) if pending is None else pending
    items = [build_approval_item(row, actor) for row in rows if row.is_waiting][:MAX_APPROVALS]  # type: ignore[attr-defined]
    if actor.system_role == SystemRole.SYSTEM_ADMIN:
        items += [build_node_item(node) for node in list_unavailable_nodes(actor).order_by("name")[:MAX_ITEMS]]
    elif actor.system_role == SystemRole.SECURITY_ADMIN:
        items += [build_unconfirmed_item(user) for user in list_unconfirmed_people(actor).order_by("pk")[:MAX_ITEMS]]
        items += [build_person_item(user) for user in list_people_without_role().order_by("pk")[:MAX_ITEMS]]
    elif actor.system_role == SystemRole.AUDITOR:
        items += [build_chain_item()] if is_chain_broken() else []
        items += [build_unconfirmed_item(user) for user in list_unconfirmed_people(actor).order_by("pk")[:MAX_ITEMS]]
    return items + [build_token_item(token) for token in list_expiring_tokens(actor).order_by("expires_at")[:MAX_ITEMS]]


def list_open_approvals(actor: Actor) -> list[Approval]:
    """Pending approvals that wait for this person (`is_waiting`), then their own requests, the next deadline first.

    One query for both; none for whom there can be neither.
    """
    if (compiled := build_own_approvals_sql(actor)) is None:
        return []
    waits = Q(pk__in=RawSQL(*compiled))  # noqa: S611 - Django's SQL
    pending = Approval.objects.filter(
        project_id__in=actor.project_ids, state=ApprovalState.PENDING, deadline_at__gt=Now()
    )
    rows = pending.filter(waits | Q(requester_user_id=actor.user_id)).select_related("project").defer("void_changes")
    is_waiting = Case(When(waits, then=True), default=False, output_field=BooleanField())
    return list(rows.annotate(is_waiting=is_waiting).order_by("-is_waiting", "deadline_at", "pk")[:MAX_OPEN_READ])


def filter_own_approvals(actor: Actor) -> QuerySet[Approval]:
    """What waits for this person's vote, and their own requests about which an approver has asked for more."""
    kinds = (approvals.query_waiting_for(actor), approvals.query_unanswered(actor))
    either = [Q(pk__in=kind.order_by().values("pk")) for kind in kinds]
    return Approval.objects.filter(either[0] | either[1], state=ApprovalState.PENDING)


def count_with_notices(actor: Actor, duties: Sequence[QuerySet[Any]]) -> tuple[int, int]:
    """(Of `list_open_approvals`, `list_expiring_tokens` and `duties`, notices not read): one statement a page."""
    sql, params = list_expiring_tokens(actor).order_by().values("pk").query.sql_with_params()
    if compiled := build_own_approvals_sql(actor):
        sql = f"{sql} UNION ALL {compiled[0]}"
        params += compiled[1]
    parts = [(sql, params)]
    parts += [rows.values("pk").query.sql_with_params() for rows in (*duties, query_unread(actor))]
    counts = [f"(SELECT COUNT(*) FROM ({part}) AS counted)" for part, _params in parts]  # noqa: S608 - Django's SQL
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counts)}", [value for _part, values in parts for value in values])
        *waiting, not_read = cursor.fetchone()
    return sum(map(int, waiting)), int(not_read)


def build_own_approvals_sql(actor: Actor) -> tuple[str, tuple[Any, ...]] | None:
    """(SQL, parameters) of `filter_own_approvals`, of which the SQL is kept: Django needs 7 ms to write it.

    None for whom no approval can wait.
    """
    if actor.user_id is None or not actor.project_roles:
        return None
    roles = sorted(actor.project_roles.items(), key=lambda item: (ProjectRole.APPROVER in item[1], item[0]))
    approver_in = sum(ProjectRole.APPROVER in project_roles for _, project_roles in roles)
    sql, stand_ins = compile_own_approvals(connection.vendor, len(roles), approver_in)
    ids = {PLACEHOLDER_ID: actor.user_id, **{PLACEHOLDER_ID - place: pk for place, (pk, _) in enumerate(roles, 1)}}
    return sql, tuple(ids.get(value, value) if isinstance(value, int) else value for value in stand_ins)


@lru_cache(maxsize=256)
def compile_own_approvals(vendor: str, projects: int, approver_in: int) -> tuple[str, tuple[Any, ...]]:
    """(SQL, parameters) of `filter_own_approvals` for a member of so many projects, approver in the last ones.

    STAND_IN is the person in the parameters, and what lies below the projects.

    `vendor`: of the database, whose SQL it is.
    """
    roles = {PLACEHOLDER_ID - place: frozenset[ProjectRole]() for place in range(1, projects - approver_in + 1)}
    approver = frozenset({ProjectRole.APPROVER})
    roles |= {PLACEHOLDER_ID - place: approver for place in range(projects - approver_in + 1, projects + 1)}
    somebody = Actor(kind="user", user_id=PLACEHOLDER_ID, project_roles=roles)
    sql, params = filter_own_approvals(somebody).order_by().values("pk").query.sql_with_params()
    return sql, tuple(params)


def list_expiring_tokens(actor: Actor) -> QuerySet[ApiToken]:
    now = timezone.now()
    return ApiToken.objects.filter(
        user_id=actor.user_id, revoked_at=None, expires_at__gt=now, expires_at__lte=now + EXPIRY_WARNING
    ).select_related("project")


def list_unavailable_nodes(actor: Actor) -> QuerySet[Node]:
    return Node.objects.visible_to(actor).with_status().exclude(status="online")


def list_people_without_role() -> QuerySet[User]:
    return User.objects.filter(Q(system_role=""), is_active=True, memberships=None)


def list_unconfirmed_people(actor: Actor) -> QuerySet[User]:
    """Accounts that wait for this administrator: the person has chosen a password, and somebody else had set the last.

    The auditor is asked for security administrators alone.
    """
    changes = CredentialChange.objects.filter(confirmed_at=None)
    people = User.objects.filter(pk__in=changes.exclude(by=actor.user_id).values("user"), is_active=True)
    if actor.system_role == SystemRole.AUDITOR:
        people = people.filter(system_role=SystemRole.SECURITY_ADMIN)
    return people.exclude(pk=actor.user_id).exclude(must_change_password=True)


def is_chain_broken() -> bool:
    verified = AuditRecord.objects.filter(action="audit.verify", result__in=(Result.DONE, Result.FAILED))
    return verified.order_by("-id").values_list("result", flat=True).first() == Result.FAILED


def build_approval_item(approval: Approval, actor: Actor) -> ActionItem:
    params = {"who": approval.requester, "project": approval.project.slug}
    own = approval.is_own_of(actor)
    text = (
        _("An approver asks for more about your request in %(project)s.") if own else _("%(who)s asks in %(project)s.")
    )
    return ActionItem(
        title=approval.title,
        text=text % params,
        url=reverse("approvals:detail", args=[approval.project.slug, approval.pk]),
        action=_("Answer") if own else _("Decide"),
        facts=summarize_facts(approval),
        until=approval.deadline_at,
    )


def summarize_facts(approval: Approval) -> str:
    """The subject's own sentence; nothing where its facts are not of the shape that this version writes."""
    try:
        return get_subject_summary(approval)
    except (KeyError, TypeError, ValueError):
        log.warning("approval %s: its facts cannot be told in a line", approval.pk)
        return ""


def build_node_item(node: Any) -> ActionItem:
    url = reverse("nodes:list") + f"#node-{node.pk}"
    if node.status == "held":
        title, action = _("Release the node %(node)s") % {"node": node.name}, _("Look")
        return ActionItem(
            title=title, text=_("Held: %(reason)s") % {"reason": node.held_reason}, url=url, action=action
        )
    title = _("Bring the node %(node)s back") % {"node": node.name}
    text = _("No heartbeat: start its worker, or see whether the machine is up.")
    return ActionItem(title=title, text=text, url=url, action=_("Look"), state="failed")


def build_person_item(user: User) -> ActionItem:
    return ActionItem(
        title=_("Give %(who)s a role") % {"who": user.username},
        text=_("The account can sign in and sees nothing yet."),
        url=reverse("accounts:person", args=[user.username]),
        action=_("Open"),
    )


def build_unconfirmed_item(user: User) -> ActionItem:
    return ActionItem(
        title=_("Confirm the credentials of %(who)s") % {"who": user.username},
        text=_("An administrator set them. The account decides nothing until you confirm that nobody else knows them."),
        url=reverse("accounts:person", args=[user.username]) + "#unconfirmed",
        action=_("Open"),
    )


def build_chain_item() -> ActionItem:
    text = _("The last verification found a record that does not fit. The page names it.")
    title = _("Inspect the broken audit chain")
    return ActionItem(title=title, text=text, url=reverse("audit:list"), action=_("Open"), state="failed")


def build_token_item(token: ApiToken) -> ActionItem:
    params = {"name": token.name, "project": token.project.slug}
    days = max(0, (token.expires_at - timezone.now()).days)
    return ActionItem(
        title=_("Replace the API token %(name)s of %(project)s") % params,
        text=_("It ends today.") if not days else _("It ends in %(days)d d.") % {"days": days},
        url=reverse("accounts:tokens"),
        action=_("Open"),
    )
