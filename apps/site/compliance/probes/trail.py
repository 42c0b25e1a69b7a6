"""8.1.4.3, security audit: what is recorded, and whether anybody can edit, delete, cut or stop it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from pydantic import ValidationError

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.services import create_project
from apps.platform.audit import services as audit
from apps.platform.audit.checkpoints import read_checkpoints
from apps.platform.audit.checks import list_missing_triggers
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.trail_export import start_export
from apps.platform.audit.verification import examine, verify_trail
from apps.platform.audit.verifier.verify import GENESIS, Link, Walk, body_digest, chain_hash
from apps.site.compliance.probes.context import STRONG, ProbeContext, expect, refuse, refuse_row
from apps.site.compliance.probes.outcomes import Attempt, Mode, ProbeTable
from apps.site.compliance.texts import Bilingual as T
from apps.site.snapshots.queries import get_recovery_status

TABLE = ProbeTable()
RECORDS = "audit_auditrecord"
MIN_RETENTION_DAYS = 184  # six months may be 184 days
MAX_BACKUP_DAYS = 8


def get_last_id() -> int:
    return int(AuditRecord.objects.order_by("-id").values_list("id", flat=True).first() or 0)


def list_new_records(after: int, action: str = "", **fields: Any) -> list[AuditRecord]:
    rows = AuditRecord.objects.filter(id__gt=after, **fields)
    return list(rows.filter(action=action) if action else rows)


@TABLE.register("audited-events")
def probe_audited_events(context: ProbeContext) -> Iterator[Attempt]:
    person = context.create_person(password=STRONG)
    auditor = context.create_person(SystemRole.AUDITOR)
    engineer = context.create_member(context.create_project(), ProjectRole.ENGINEER)
    last = get_last_id()
    create_project(actor=context.operator, slug=f"probe-{secrets.token_hex(6)}")
    rows = list_new_records(last, "project.create")
    yield Attempt(T("Create a project without leaving a record", "创建项目而不留审计记录"), len(rows) == 1)
    last = get_last_id()
    client = context.open_browser()
    client.post(reverse("account_login"), {"login": person.username, "password": "wrong"})
    rows = [row for row in list_new_records(last) if row.result in ("refused", "failed")]
    yield Attempt(T("Fail a log-in without leaving a record", "登录失败而不留审计记录"), bool(rows), name_actions(rows))
    last = get_last_id()
    context.open_browser(person)
    rows = list_new_records(last, user_id=person.pk)
    yield Attempt(T("Log in without leaving a record", "登录而不留审计记录"), bool(rows), name_actions(rows))
    last = get_last_id()
    client = context.open_browser(engineer)
    last = get_last_id()
    response = client.get(reverse("audit:chain"))
    rows = list_new_records(last, result="refused")
    text = T("Be refused without leaving a record", "越权被拒绝而不留审计记录")
    yield Attempt(text, response.status_code == 403 and bool(rows), name_actions(rows))
    client = context.open_browser(auditor)
    last = get_last_id()
    client.get(reverse("audit:list"))
    rows = list_new_records(last, user_id=auditor.pk)
    yield Attempt(T("Read the trail without leaving a record", "查阅审计记录而不留痕"), bool(rows), name_actions(rows))


def name_actions(rows: list[AuditRecord]) -> str:
    return ", ".join(sorted({row.action for row in rows})) or "no record"


@TABLE.register("record-content")
def probe_record_content(context: ProbeContext) -> Iterator[Attempt]:
    actor = context.get_actor(context.create_person(SystemRole.SYSTEM_ADMIN))
    last = get_last_id()
    create_project(actor=actor, slug=f"probe-{secrets.token_hex(6)}")
    row = next(iter(list_new_records(last, "project.create")), None)
    body = json.loads(row.body) if row else {}
    about = body.get("actor") or {}
    for text, holds in (
        (T("The record holds the time", "记录包含时间"), bool(body.get("at"))),
        (
            T("The record holds the user", "记录包含用户"),
            about.get("user") == actor.user_id and bool(about.get("label")),
        ),
        (T("The record holds the type of the event", "记录包含事件类型"), body.get("action") == "project.create"),
        (T("The record holds whether it succeeded", "记录包含是否成功"), body.get("result") == "done"),
        (
            T("The record holds the object and its address", "记录包含对象与来源地址"),
            bool((body.get("object") or {}).get("id")) and bool(body.get("address")),
        ),
    ):
        yield Attempt(text, holds)


@TABLE.register("trail-protection")
def probe_trail_protection(context: ProbeContext) -> Iterator[Attempt]:
    row = audit.record(actor=context.operator, action="compliance.probe", object_type="probe", object_id="1")

    def run(statement: str, *values: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    yield refuse_row(
        T("Edit the body of a record in the database", "在数据库中修改记录内容"),
        lambda: run(f"UPDATE {RECORDS} SET body = %s WHERE id = %s", "{}", row.pk),  # noqa: S608 - a constant
    )
    yield refuse_row(
        T("Edit the actor of a record in the database", "在数据库中修改记录的用户"),
        lambda: run(f"UPDATE {RECORDS} SET actor = %s WHERE id = %s", "nobody", row.pk),  # noqa: S608
    )
    yield refuse_row(
        T("Delete a record in the database", "在数据库中删除记录"),
        lambda: run(f"DELETE FROM {RECORDS} WHERE id = %s", row.pk),  # noqa: S608
    )
    yield refuse_row(
        T("Overwrite a record with another one", "以另一条记录覆盖"),
        lambda: run(f"UPDATE {RECORDS} SET id = id + 1000000000 WHERE id = %s", row.pk),  # noqa: S608
    )
    missing = list_missing_triggers()
    text = T("Find triggers of the trail that are absent or changed", "查找缺失或被改动的审计触发器")
    yield Attempt(text, not missing, f"{len(missing)} missing")


@TABLE.register("trail-integrity", Mode.READING)
def probe_trail_integrity(context: ProbeContext) -> Iterator[Attempt]:
    walk = Walk()
    body = body_digest('{"v":1}')
    walk.step(Link(1, 1, GENESIS, chain_hash(GENESIS, 1, body), body))
    forged = walk.step(Link(2, 2, walk.hash, chain_hash(walk.hash, 2, body), body_digest('{"v":2}')))
    text = T("Verify a chain with an edited record", "校验含被改记录的链")
    yield Attempt(text, forged is not None, str(forged or "accepted"))
    verification = examine()
    text = T("Walk the whole trail and its checkpoints", "校验全部审计记录与检查点")
    yield Attempt(text, verification.whole, str(verification.finding or f"{verification.sealed} records"))


@TABLE.register("trail-backup", Mode.READING)
def probe_trail_backup(context: ProbeContext) -> Iterator[Attempt]:
    since = timezone.now() - timedelta(days=MAX_BACKUP_DAYS)
    newest = get_recovery_status(context.operator).newest
    exported = AuditRecord.objects.filter(action="audit.export", result="done", at__gte=since).exists()
    snapshot = newest is not None and newest.made_at is not None and newest.made_at >= since
    text = T(
        f"The trail was backed up or exported within {MAX_BACKUP_DAYS} days",
        f"审计记录在{MAX_BACKUP_DAYS}天内有备份或导出",
    )
    yield Attempt(text, snapshot or exported, f"snapshot: {snapshot}, export: {exported}")
    count = sum(1 for _ in read_checkpoints())
    text = T("Signed checkpoints lie outside of the database", "数据库之外存有签名检查点")
    yield Attempt(text, count > 0, f"{count} checkpoints")


@TABLE.register("audit-interruption")
def probe_audit_interruption(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    for name, person in (
        ("system_admin", context.create_person(SystemRole.SYSTEM_ADMIN)),
        ("security_admin", context.create_person(SystemRole.SECURITY_ADMIN)),
        ("engineer", context.create_member(project, ProjectRole.ENGINEER)),
    ):
        actor = context.get_actor(person)
        yield refuse(
            T(f"Take hold of the trail as {name}", f"以 {name} 身份控制审计"),
            lambda actor=actor: (verify_trail(actor=actor), start_export(actor=actor)),  # type: ignore[misc]
        )
    client = context.open_browser(context.create_person(SystemRole.AUDITOR))
    for method in ("delete", "put", "patch"):
        response = getattr(client, method)("/api/v1/audit/records")
        yield expect(
            T(f"Send {method.upper()} to the trail", f"对审计接口发送 {method.upper()}"), response, 403, 404, 405
        )
    names = [name for name in type(settings.ENV).model_fields if name.startswith(("audit_enabled", "disable_audit"))]
    yield Attempt(T("Find a setting that turns auditing off", "查找可关闭审计的设置"), not names, ", ".join(names))


@TABLE.register("audit-retention")
def probe_audit_retention(context: ProbeContext) -> Iterator[Attempt]:
    young = timezone.now() - timedelta(days=MIN_RETENTION_DAYS - 1)
    row = audit.record(actor=context.operator, action="compliance.probe", object_type="probe", object_id="2")

    def delete() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {RECORDS} WHERE id = %s AND at > %s", [row.pk, young])  # noqa: S608

    text = T(f"Delete a record younger than {MIN_RETENTION_DAYS} days", f"删除不足{MIN_RETENTION_DAYS}天的审计记录")
    yield refuse_row(text, delete)
    days = settings.ENV.log_retention_days
    text = T(f"Log files go before {MIN_RETENTION_DAYS} days are over", f"日志文件留存不足{MIN_RETENTION_DAYS}天")
    yield Attempt(text, days >= MIN_RETENTION_DAYS, f"LOG_RETENTION_DAYS={days}")


@TABLE.register("log-retention", Mode.READING)
def probe_log_retention(context: ProbeContext) -> Iterator[Attempt]:
    """Of log files; audit records are never removed."""
    env = settings.ENV
    for days in (1, MIN_RETENTION_DAYS - 1):
        text = T(f"Start with LOG_RETENTION_DAYS={days}", f"以 LOG_RETENTION_DAYS={days} 启动")
        try:
            type(env)(log_retention_days=days)
        except ValidationError as refusal:
            fields = [error["loc"] for error in refusal.errors()]
            yield Attempt(text, ("log_retention_days",) in fields, "refused")
        else:
            yield Attempt(text, False, "taken")
    text = T(f"Log files are kept for {MIN_RETENTION_DAYS} days", f"日志文件留存不少于{MIN_RETENTION_DAYS}天")
    days_kept = env.log_retention_days
    yield Attempt(
        text,
        days_kept >= MIN_RETENTION_DAYS,
        f"LOG_RETENTION_DAYS={days_kept}" + ("" if days_kept else ": by number of files"),
    )
