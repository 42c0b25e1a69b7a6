"""8.1.5, administration: the three administrators and their duties, and what is managed centrally."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.errors import NotFound, Refused
from apps.platform.accounts.services import (
    confirm_credentials,
    create_project,
    create_service_account,
    create_user,
    disable_user,
    reset_password,
    set_member_roles,
    set_system_role,
)
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.trail_export import start_export
from apps.platform.audit.verification import verify_trail
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import hold_node
from apps.site.compliance.probes.context import ProbeContext, expect, is_login_redirect, refuse
from apps.site.compliance.probes.outcomes import Attempt, Mode, NotApplicable, ProbeTable
from apps.site.compliance.texts import Bilingual as T
from apps.site.isolation.queries import get_current_policy, get_proof
from apps.site.isolation.services import set_policy
from apps.site.snapshots.services import request_snapshot

TABLE = ProbeTable()
ROLES = {
    SystemRole.SYSTEM_ADMIN: T("system administrator", "系统管理员"),
    SystemRole.SECURITY_ADMIN: T("security administrator", "安全管理员"),
    SystemRole.AUDITOR: T("auditor", "审计管理员"),
}
MAX_REPORT_DAYS = 31
NO_NODES = T("No node has registered", "没有已登记的节点")


@dataclass(frozen=True)
class Duty:
    """Something that one administrator alone does."""

    text: T
    run: Callable[[Actor], Any]


def try_others(context: ProbeContext, owner: SystemRole, duties: list[Duty]) -> Iterator[Attempt]:
    """Have the two other administrators and an engineer do what is the owner's.

    Only that they may not do it counts as a refusal: a fault of another kind would say nothing about their rights.
    """
    project = context.create_project()
    actors = {ROLES[role]: context.get_actor(context.create_person(role)) for role in SystemRole if role != owner}
    engineer = context.get_actor(context.create_member(project, ProjectRole.ENGINEER))
    actors[T("engineer", "工程师")] = engineer
    for duty in duties:
        for who, actor in actors.items():
            text = T(f"{duty.text.en} as {who.en}", f"以{who.zh}身份{duty.text.zh}")
            yield refuse(text, lambda actor=actor, duty=duty: duty.run(actor), Refused, NotFound)  # type: ignore[misc]


def try_page(context: ProbeContext, owner: SystemRole, url: str, others: tuple[SystemRole, ...]) -> Iterator[Attempt]:
    """That the page is the owner's: strangers are sent to the log-in, engineers and `others` are refused."""
    name = ROLES[owner]
    page = context.open_browser().get(url)
    text = T(f"Open {url} without authentication", f"未登录访问 {url}")
    yield Attempt(text, is_login_redirect(page), str(page.status_code))
    engineer = context.create_member(context.create_project(), ProjectRole.ENGINEER)
    page = context.open_browser(engineer).get(url)
    yield expect(T(f"Open {url} as an engineer", f"以工程师身份访问 {url}"), page, 403, 404)
    for role in others:
        page = context.open_browser(context.create_person(role)).get(url)
        text = T(f"Open {url} as {ROLES[role].en}", f"以{ROLES[role].zh}身份访问 {url}")
        yield expect(text, page, 403, 404)
    page = context.open_browser(context.create_person(owner)).get(url)
    text = T(f"Open {url} as the {name.en}, whose it is", f"以{name.zh}身份访问 {url}（应被允许）")
    yield expect(text, page, 200)


def try_record(context: ProbeContext, role: SystemRole, act: Callable[[Actor], Any]) -> Attempt:
    """That what the administrator does leaves a record with the name."""
    actor = context.get_actor(context.create_person(role))
    before = AuditRecord.objects.filter(user_id=actor.user_id).count()
    act(actor)
    count = AuditRecord.objects.filter(user_id=actor.user_id).count() - before
    text = T(f"Act as the {ROLES[role].en} without a record", f"以{ROLES[role].zh}身份操作而不留审计记录")
    return Attempt(text, count > 0, f"{count} records")


# -- system administration --------------------------------------------------------------------------------------------
@TABLE.register("system-administrator")
def probe_system_administrator(context: ProbeContext) -> Iterator[Attempt]:
    yield from try_page(context, SystemRole.SYSTEM_ADMIN, reverse("snapshots:list"), ())
    yield try_record(
        context,
        SystemRole.SYSTEM_ADMIN,
        lambda actor: create_project(actor=actor, slug=f"probe-{secrets.token_hex(6)}"),
    )


@TABLE.register("system-duties")
def probe_system_duties(context: ProbeContext) -> Iterator[Attempt]:
    target = context.create_person()
    node = Node.objects.create(name=f"probe-{secrets.token_hex(6)}", host="probe")
    duties = [
        Duty(
            T("Create an account", "创建账户"),
            lambda actor: create_user(actor=actor, username=f"x{secrets.token_hex(5)}"),
        ),
        Duty(T("Disable an account", "停用账户"), lambda actor: disable_user(actor=actor, user=target)),
        Duty(T("Reset a password", "重置口令"), lambda actor: reset_password(actor=actor, user=target)),
        Duty(
            T("Create a project", "创建项目"),
            lambda actor: create_project(actor=actor, slug=f"p{secrets.token_hex(5)}"),
        ),
        Duty(T("Hold a node", "暂停节点"), lambda actor: hold_node(actor=actor, node=node, reason="x")),
        Duty(T("Make a backup", "执行备份"), lambda actor: request_snapshot(actor=actor)),
    ]
    yield from try_others(context, SystemRole.SYSTEM_ADMIN, duties)


# -- audit administration ---------------------------------------------------------------------------------------------
@TABLE.register("audit-administrator")
def probe_audit_administrator(context: ProbeContext) -> Iterator[Attempt]:
    roles = (SystemRole.SYSTEM_ADMIN, SystemRole.SECURITY_ADMIN)
    yield from try_page(context, SystemRole.AUDITOR, reverse("audit:chain"), roles)
    yield try_record(context, SystemRole.AUDITOR, lambda actor: verify_recent_records(actor))


def verify_recent_records(actor: Actor) -> None:
    from apps.platform.audit.verification import verify_recent
    from apps.platform.audit.verifier.verify import GENESIS

    verify_recent(actor=actor, seq=0, head=GENESIS)


@TABLE.register("audit-duties")
def probe_audit_duties(context: ProbeContext) -> Iterator[Attempt]:
    duties = [
        Duty(T("Query audit records", "查询审计记录"), lambda actor: policy.require(actor, "audit.view")),
        Duty(T("Verify audit records", "校验审计记录"), lambda actor: verify_trail(actor=actor)),
        Duty(T("Export audit records", "导出审计记录"), lambda actor: start_export(actor=actor)),
    ]
    yield from try_others(context, SystemRole.AUDITOR, duties)


# -- security administration ------------------------------------------------------------------------------------------
@TABLE.register("security-administrator")
def probe_security_administrator(context: ProbeContext) -> Iterator[Attempt]:
    yield from try_page(context, SystemRole.SECURITY_ADMIN, reverse("accounts:people"), ())
    target = context.create_person()
    yield try_record(
        context,
        SystemRole.SECURITY_ADMIN,
        lambda actor: set_system_role(actor=actor, user=target, system_role="auditor"),
    )


@TABLE.register("security-duties")
def probe_security_duties(context: ProbeContext) -> Iterator[Attempt]:
    project, target = context.create_project(), context.create_person()
    document = {"networks": ["192.0.2.0/24"]}
    duties = [
        Duty(
            T("Set the network policy", "设置网络策略"),
            lambda actor: set_policy(actor=actor, document=document, reason="x"),
        ),
        Duty(
            T("Give an administrator's role", "授予管理员角色"),
            lambda actor: set_system_role(actor=actor, user=target, system_role="auditor"),
        ),
        Duty(
            T("Give rights in a project", "授予项目权限"),
            lambda actor: set_member_roles(actor=actor, project=project, member=target, roles=["viewer"]),
        ),
        Duty(
            T("Create a service account", "创建服务账户"),
            lambda actor: create_service_account(actor=actor, project=project, name="probe", roles=["viewer"]),
        ),
    ]
    yield from try_others(context, SystemRole.SECURITY_ADMIN, duties)
    security = context.get_actor(context.create_person(SystemRole.SECURITY_ADMIN))
    yield refuse(
        T("Confirm one's own credentials", "确认自己的凭据"),
        lambda: confirm_credentials(actor=security, user=type(target).objects.get(pk=security.user_id)),
    )


# -- central management -----------------------------------------------------------------------------------------------
@TABLE.register("node-isolation", Mode.READING)
def probe_node_isolation(context: ProbeContext) -> Iterator[Attempt]:
    proof = get_proof(context.operator_as_auditor())
    if not proof.nodes:
        raise NotApplicable(NO_NODES)
    bad = [node.name for node in proof.nodes if node.status != "refused"]
    text = T("Get out of each node: the last probe was refused in every way", "从各节点向外连接：最近探测均被拒绝")
    yield Attempt(text, not bad, f"not proven: {', '.join(bad[:5])}" if bad else f"{len(proof.nodes)} nodes")


@TABLE.register("node-tokens", Mode.READING)
def probe_node_tokens(context: ProbeContext) -> Iterator[Attempt]:
    client = context.open_browser()
    for header, text in (
        ("", T("Report as a node without a token", "无令牌冒充节点上报")),
        (
            f"Bearer dsn_{secrets.token_urlsafe(32)}",
            T("Report as a node with an invented token", "以伪造令牌冒充节点上报"),
        ),
    ):
        extra = {"HTTP_AUTHORIZATION": header} if header else {}
        response = client.get("/api/v1/doctor/nodes/probe/isolation-policy", **extra)
        yield expect(text, response, 401, 403)


@TABLE.register("central-monitoring")
def probe_central_monitoring(context: ProbeContext) -> Iterator[Attempt]:
    node = Node.objects.create(
        name=f"probe-{secrets.token_hex(6)}", host="probe", heartbeat_at=timezone.now() - timedelta(hours=1)
    )
    status = Node.objects.with_status().get(pk=node.pk).status
    text = T("Let a node fall silent without its page saying so", "节点失联而监控未显示")
    yield Attempt(text, status == "offline", status)
    browser = context.open_browser(context.create_person(SystemRole.SYSTEM_ADMIN))
    yield expect(
        T("The state of all machines is on one page", "全部机器状态集中显示"), browser.get(reverse("nodes:list")), 200
    )
    since = timezone.now() - timedelta(days=MAX_REPORT_DAYS)
    names = set(Node.objects.exclude(pk=node.pk).values_list("name", flat=True))
    heard = set(Node.objects.filter(heartbeat_at__gte=since).values_list("name", flat=True))
    silent = sorted(names - heard)
    text = T(f"Every node was heard of within {MAX_REPORT_DAYS} days", f"各节点{MAX_REPORT_DAYS}天内均有心跳")
    yield Attempt(text, not silent, ", ".join(silent[:5]) or f"{len(names)} nodes")


@TABLE.register("central-policy", Mode.READING)
def probe_central_policy(context: ProbeContext) -> Iterator[Attempt]:
    auditor = context.operator_as_auditor()
    current = get_current_policy(auditor)
    text = T("The network policy of all nodes is kept in one place", "全部节点的网络策略集中管理")
    yield Attempt(text, current is not None, str(current or "no policy"))
    outdated = [node.name for node in get_proof(auditor).nodes if not node.has_policy]
    text = T("Every node has the newest policy", "各节点均已应用最新策略")
    yield Attempt(text, current is not None and not outdated, ", ".join(outdated[:5]) or "all")
    text = T("What is scanned for is set in one place", "恶意代码扫描策略集中设置")
    names = ("malware_scan_command", "upload_scan_command")
    unset = [name.upper() for name in names if not getattr(settings.ENV, name)]
    yield Attempt(text, not unset, f"not set: {', '.join(unset)}" if unset else settings.ENV.malware_scan)
