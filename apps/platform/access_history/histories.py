"""All that is recorded of the grants of some accounts: a fixed number of queries, however many accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from apps.platform.access_history.changes import (
    ACTIVE,
    CLEARANCE,
    CREATIONS,
    EXPIRES,
    LABEL,
    SYSTEM_ROLE,
    UNRECORDED,
    Change,
    Property,
    parse_record,
    parse_revocation,
    sort_changes,
)
from apps.platform.accounts.models import ApiToken, CredentialChange, Membership, Project, ServiceAccount, User
from apps.platform.accounts.security_labels import get_label_name
from apps.platform.audit.models import GRANT_CHANGES, AuditRecord, Result
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.recertification.models import Decision, GrantKind, GrantReview


@dataclass(slots=True)
class PropertyHistory:
    """Changes and the present value of every property of one account or project."""

    created_at: datetime
    creation: datetime | None = None  # by a record of the trail
    changes: dict[Property, list[Change]] = field(default_factory=lambda: defaultdict(list))
    present: dict[Property, Any] = field(default_factory=dict)
    role_since: dict[Property, datetime] = field(default_factory=dict)  # of the roles there are now

    def get_value(self, key: Property, at: datetime) -> tuple[Any, bool]:
        """The value at a time, and whether records prove it: they do not where there are none, or where the value that
        one leaves is not the one that the next one, or the row, finds."""
        since = self.role_since.get(key)
        earlier, later = self.split(key, at)
        if since is not None and since <= at:
            return True, bool(earlier) and earlier[-1].after is True
        present = UNRECORDED if since is not None else self.present.get(key, False)
        if earlier:
            value, following = earlier[-1].after, later[0].before if later else present
            return value, following is UNRECORDED or following == value
        if later and later[0].before is not UNRECORDED:
            return later[0].before, True
        return (False if present is UNRECORDED else present), False

    def split(self, key: Property, at: datetime) -> tuple[list[Change], list[Change]]:
        """The changes until `at`, that time included, and those after it. Of a new account every value is known."""
        changes = self.changes.get(key, [])
        if self.creation is not None:
            changes = [Change(self.creation, UNRECORDED, get_default(key)), *changes]
        earlier = [change for change in changes if change.at <= at]
        return earlier, changes[len(earlier) :]

    def list_roles(self) -> list[Property]:
        """Every role that the account has or had, as far as anything says."""
        return sorted({key for key in (*self.changes, *self.role_since) if key[0] == "role"}, key=str)


@dataclass(slots=True)
class AccountHistory(PropertyHistory):
    holder: str = ""
    user_id: int | None = None
    account_id: int | None = None
    tokens: list[ApiToken] = field(default_factory=list)
    suspensions: dict[int, list[tuple[datetime, datetime]]] = field(default_factory=dict)  # of tokens, that ended
    emergency: list[EmergencyGrant] = field(default_factory=list)
    credentials: list[CredentialChange] = field(default_factory=list)

    def list_project_ids(self) -> set[int]:
        """Of every project that a role, a token or an emergency grant is in."""
        ids = {project_id for _name, project_id, _role in self.list_roles()}
        ids |= {token.project_id for token in self.tokens} | {grant.project_id for grant in self.emergency}
        return {pk for pk in ids if pk is not None}


def get_default(key: Property) -> Any:
    """The value that a new account or project has."""
    defaults = {ACTIVE: True, SYSTEM_ROLE: "", EXPIRES: None, CLEARANCE: get_label_name(0), LABEL: get_label_name(0)}
    return defaults.get(key, False)


def load_people(users: Sequence[User], start: datetime, end: datetime) -> list[AccountHistory]:
    """Their histories, in their order; tokens, emergency grants and unconfirmed credentials of start..end alone."""
    histories = {
        user.pk: AccountHistory(
            created_at=user.created_at,
            holder=user.username,
            user_id=user.pk,
            present={
                ACTIVE: user.is_active,
                EXPIRES: user.expires_at.isoformat() if user.expires_at else None,
                SYSTEM_ROLE: user.system_role,
                CLEARANCE: get_label_name(user.clearance),
            },
        )
        for user in users
    }
    add_records(histories, "user")
    by_name = {history.holder: history for history in histories.values()}
    for review in list_revocations(by_name):
        if review.user_id is not None and review.holder in by_name:
            add_changes(by_name[review.holder], parse_revocation(review, review.campaign.started_at))
    add_rows(histories, "user_id", start, end)
    grants = EmergencyGrant.objects.filter(user__in=histories, confirmed_at__lte=end, expires_at__gt=start)
    for grant in grants.order_by("pk"):
        histories[grant.user_id].emergency.append(grant)
    unconfirmed = CredentialChange.objects.filter(user__in=histories, at__lte=end)
    for change in unconfirmed.filter(Q(confirmed_at=None) | Q(confirmed_at__gt=start)).order_by("pk"):
        histories[change.user_id].credentials.append(change)
    return finish(histories)


def load_service_accounts(accounts: Sequence[ServiceAccount], start: datetime, end: datetime) -> list[AccountHistory]:
    """The same for service accounts."""
    histories = {
        account.pk: AccountHistory(
            created_at=account.created_at,
            holder=account.name,
            account_id=account.pk,
            present={
                ACTIVE: account.is_active,
                EXPIRES: None,
                SYSTEM_ROLE: "",
                CLEARANCE: get_label_name(account.clearance),
            },
        )
        for account in accounts
    }
    add_records(histories, "serviceaccount")
    by_place = {(account.project_id, account.name): histories[account.pk] for account in accounts}
    for review in list_revocations({account.name for account in accounts}):
        history = by_place.get((review.project_id or 0, review.holder))
        if review.user_id is None and history is not None:
            add_changes(history, parse_revocation(review, review.campaign.started_at))
    add_rows(histories, "service_account_id", start, end)
    return finish(histories)


def load_projects(project_ids: Iterable[int]) -> dict[int, tuple[str, PropertyHistory]]:
    """{id: (slug, history of the label)}."""
    projects = Project.objects.filter(pk__in=set(project_ids))
    named = {
        project.pk: (
            project.slug,
            PropertyHistory(project.created_at, present={LABEL: get_label_name(project.security_label)}),
        )
        for project in projects
    }
    add_records({pk: history for pk, (_slug, history) in named.items()}, "project")
    return named


# -- steps ----------------------------------------------------------------------------------------------------------
def add_records(histories: dict[int, Any], object_type: str) -> None:
    """What the trail has of these rows; along the partial index of the records by which grants change."""
    rows = AuditRecord.objects.filter(
        object_type=object_type,
        object_id__in=[str(pk) for pk in histories],
        result=Result.DONE,
    )
    # As constants: SQLite takes a partial index for no condition with parameters.
    actions = ", ".join(f"'{action}'" for action in GRANT_CHANGES)
    rows = rows.extra(where=[f"audit_auditrecord.action IN ({actions})"])  # noqa: S610 - no input of anybody
    for row in rows.order_by("id").iterator():
        history: PropertyHistory = histories[int(row.object_id)]
        if row.action in CREATIONS:
            history.creation = row.at
        add_changes(history, parse_record(row))


def add_changes(history: PropertyHistory, changes: Iterable[tuple[Property, Change]]) -> None:
    for key, change in changes:
        history.changes[key].append(change)


def add_rows(histories: dict[int, AccountHistory], column: str, start: datetime, end: datetime) -> None:
    """The roles there are now, and the tokens that worked at any time of start..end."""
    columns = (column, "project_id", "role", "created_at")
    for pk, project_id, role, since in Membership.objects.filter(**{f"{column}__in": histories}).values_list(*columns):
        histories[pk].role_since["role", project_id, role] = since
    tokens = ApiToken.objects.filter(**{f"{column}__in": histories}, created_at__lte=end, expires_at__gt=start)
    for token in tokens.filter(Q(revoked_at=None) | Q(revoked_at__gt=start)).order_by("pk").iterator():
        histories[getattr(token, column)].tokens.append(token)
    add_suspensions({token.pk: history for history in histories.values() for token in history.tokens}, start, end)


def add_suspensions(by_token: Mapping[int, AccountHistory], start: datetime, end: datetime) -> None:
    """When tokens did not work that work again: their rows say nothing of it."""
    restored = GrantReview.objects.filter(kind=GrantKind.TOKEN, restored_at__gt=start, suspended_at__lte=end)
    spans = restored.filter(object_id__in=by_token).values_list("object_id", "suspended_at", "restored_at")
    for token, since, until in spans.order_by("pk"):
        assert since is not None and until is not None  # noqa: PT018, S101 - by the filter
        by_token[token].suspensions.setdefault(token, []).append((since, until))


def list_revocations(holders: Iterable[str]) -> Iterable[GrantReview]:
    gone = Q(decision=Decision.REVOKED) | Q(suspended_at__isnull=False)
    rows = GrantReview.objects.filter(gone, holder__in=list(holders))
    return rows.exclude(kind=GrantKind.TOKEN).select_related("campaign").order_by("pk")


def finish(histories: dict[int, AccountHistory]) -> list[AccountHistory]:
    for history in histories.values():
        history.changes = {key: sort_changes(changes) for key, changes in history.changes.items()}
    return list(histories.values())
