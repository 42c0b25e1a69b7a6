"""8.1.4.2, access control: strangers, default and dead accounts, separated roles, escalation, isolation, labels."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.hashers import check_password
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, DeviceRole, NodeRole, PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.platform.accounts.models import Membership, Project, User
from apps.platform.accounts.queries import list_unused
from apps.platform.accounts.security_labels import list_labels
from apps.platform.accounts.services import (
    create_token,
    create_user,
    disable_user,
    set_clearance,
    set_member_roles,
    set_project_label,
    set_system_role,
)
from apps.platform.audit.trail_export import start_export
from apps.site.compliance.probes.context import STRONG, ProbeContext, expect, is_login_redirect, refuse, refuse_row
from apps.site.compliance.probes.outcomes import Attempt, Mode, ProbeTable
from apps.site.compliance.texts import Bilingual as T

TABLE = ProbeTable()
OPEN_ROUTES = (
    "healthz", "readyz", "i18n/", "accounts/login", "accounts/logout", "accounts/2fa/", "accounts/reauthenticate",
    "accounts/password/", "accounts/signup", "accounts/inactive", "static/", "favicon",
)  # fmt: skip
"""Who asks has to be answered before the log-in: health, the log-in itself, its language, styles."""
PARAMETER = re.compile(r"<(?:(\w+):)?\w+>")
SAMPLE_VALUES = {"int": "1", "uuid": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
DEFAULT_NAMES = ("admin", "administrator", "root", "test", "guest", "demo", "operator", "user", "system", "audit")
DEFAULT_PASSWORDS = ("admin", "password", "123456", "admin123", "changeme")
UNUSED_DAYS = 90


# -- strangers --------------------------------------------------------------------------------------------------------
@TABLE.register("anonymous-access", Mode.READING)
def probe_anonymous_access(context: ProbeContext) -> Iterator[Attempt]:
    client = context.open_browser()
    opened, count = [], 0
    for path in iter_paths(get_resolver()):
        if path.startswith(OPEN_ROUTES):
            continue
        count += 1
        response = client.get(f"/{path}")
        if response.status_code == 200:
            opened.append(path)
    text = T("Open every address of the plane without an account", "未登录访问平台全部地址")
    yield Attempt(text, bool(count) and not opened, f"{count} addresses; open: {', '.join(opened[:5]) or 'none'}")
    response = client.post("/api/v1/projects/x/jobs", "{}", content_type="application/json")
    yield expect(T("Write without an account", "未登录提交请求"), response, 401, 403, 404)
    response = client.get("/api/v1/nodes", HTTP_AUTHORIZATION=f"Bearer dsk_{secrets.token_urlsafe(32)}")
    yield expect(T("Send a token that was invented", "使用伪造令牌"), response, 401, 403)


def iter_paths(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """An address of each route, with sample values; those of regular expressions are left out."""
    for entry in resolver.url_patterns:
        route = str(entry.pattern)
        if route.startswith("^"):
            continue
        if isinstance(entry, URLResolver):
            yield from iter_paths(entry, prefix + route)
        elif isinstance(entry, URLPattern):
            yield PARAMETER.sub(lambda match: SAMPLE_VALUES.get(match[1] or "", "probe"), prefix + route)


@TABLE.register("default-accounts")
def probe_default_accounts(context: ProbeContext) -> Iterator[Attempt]:
    url = reverse("account_login")
    for name, password in (("admin", "admin"), ("root", "root"), ("admin", "password")):
        text = T(f"Log in as {name} with the password {password}", f"以 {name}/{password} 登录")
        stored = User.objects.filter(username__iexact=name).values_list("password", flat=True).first()
        if stored is not None:  # no wrong password is sent for somebody who is there: it would count against them
            yield Attempt(text, not check_password(password, stored), "compared with the stored password")
            continue
        client = context.open_browser()
        client.post(url, {"login": name, "password": password})
        yield Attempt(text, "_auth_user_id" not in client.session, "no such account")
    weak = [
        user.username
        for user in User.objects.filter(is_active=True, username__in=DEFAULT_NAMES)
        if any(check_password(each, user.password) for each in (*DEFAULT_PASSWORDS, user.username))
    ]
    text = T("Find accounts with a usual name and a usual password", "查找使用默认名称和默认口令的账户")
    yield Attempt(text, not weak, ", ".join(weak) or "none")
    old = timezone.now() - timedelta(days=30)
    stale = User.objects.filter(is_active=True, must_change_password=True, created_at__lt=old).count()
    text = T("Find one-time passwords that were not replaced for 30 days", "查找30天内未更换的一次性初始口令")
    yield Attempt(text, stale == 0, f"{stale} accounts")


@TABLE.register("disabled-accounts")
def probe_disabled_accounts(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    person = context.create_member(project, ProjectRole.ENGINEER)
    client = context.open_browser(person)
    actor = context.get_actor(person)
    _, dead = create_token(actor=actor, project=project, name="a", scopes=["read"])
    late, expired = create_token(actor=actor, project=project, name="b", scopes=["read"])
    type(late).objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    url = f"/api/v1/projects/{project.slug}/jobs"
    response = context.open_browser().get(url, HTTP_AUTHORIZATION=f"Bearer {expired}")
    yield expect(T("Use a token past its end", "使用过期令牌"), response, 401)
    before = client.get(reverse("home")).status_code
    disable_user(actor=context.operator, user=person)
    response = client.get(reverse("home"))
    text = T("Go on in the session of a disabled account", "停用账户后继续使用会话")
    yield Attempt(text, before in (200, 302) and is_login_redirect(response), str(response.status_code))
    response = context.open_browser().get(url, HTTP_AUTHORIZATION=f"Bearer {dead}")
    yield expect(T("Use the token of a disabled account", "停用账户后使用其令牌"), response, 401)


@TABLE.register("expired-accounts")
def probe_expired_accounts(context: ProbeContext) -> Iterator[Attempt]:
    end = timezone.now() - timedelta(days=2)
    person = context.create_person(password=STRONG, expires_at=end)
    client = context.open_browser()
    response = client.post(reverse("account_login"), {"login": person.username, "password": STRONG})
    text = T("Log in to an account past its end", "登录已过有效期的账户")
    yield Attempt(text, "_auth_user_id" not in client.session, str(response.status_code))
    unused = list_unused(UNUSED_DAYS)
    text = T(f"Find active accounts that nobody used for {UNUSED_DAYS} days", f"查找{UNUSED_DAYS}天未使用的有效账户")
    yield Attempt(text, not unused, f"{len(unused)} accounts")


# -- roles ------------------------------------------------------------------------------------------------------------
@TABLE.register("separated-roles")
def probe_separated_roles(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    target = context.create_person()
    actors = {role: context.get_actor(context.create_person(role)) for role in SystemRole}
    engineer = context.get_actor(context.create_member(project, ProjectRole.ENGINEER))
    system, security, auditor = (
        actors[role] for role in (SystemRole.SYSTEM_ADMIN, SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR)
    )
    for text, attempt in (
        (
            T("Give a role as the system administrator", "系统管理员授予角色"),
            lambda: set_system_role(actor=system, user=target, system_role="auditor"),
        ),
        (
            T("Read the trail as the system administrator", "系统管理员导出审计记录"),
            lambda: start_export(actor=system),
        ),
        (
            T("Create an account as the security administrator", "安全管理员创建账户"),
            lambda: create_user(actor=security, username=f"x{secrets.token_hex(5)}"),
        ),
        (
            T("Read the trail as the security administrator", "安全管理员导出审计记录"),
            lambda: start_export(actor=security),
        ),
        (
            T("Disable an account as the auditor", "审计员停用账户"),
            lambda: disable_user(actor=auditor, user=target),
        ),
        (
            T("Give a role as the auditor", "审计员授予角色"),
            lambda: set_system_role(actor=auditor, user=target, system_role="auditor"),
        ),
        (
            T("Create an account as an engineer", "工程师创建账户"),
            lambda: create_user(actor=engineer, username=f"x{secrets.token_hex(5)}"),
        ),
    ):
        yield refuse(text, attempt)


@TABLE.register("one-role-each")
def probe_one_role_each(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    administrator = context.create_person(SystemRole.SYSTEM_ADMIN)
    member = context.create_member(project, ProjectRole.ENGINEER)
    yield refuse(
        T("Make an administrator a member of a project", "将管理员加入项目"),
        lambda: set_member_roles(actor=context.operator, project=project, member=administrator, roles=["engineer"]),
    )
    yield refuse(
        T("Make a member of a project an administrator", "将项目成员设为管理员"),
        lambda: set_system_role(actor=context.operator, user=member, system_role="auditor"),
    )
    Membership.objects.create(project=project, user=administrator, role="engineer")
    rights = context.get_actor(administrator).project_roles
    text = T(
        "Use a membership of an administrator that was stored past the services", "使用绕过服务写入的管理员项目成员记录"
    )
    yield Attempt(text, not rights, "no rights in projects" if not rights else "rights in a project")
    yield refuse_row(
        T("Store a role that does not exist, past the services", "绕过服务直接写入不存在的角色"),
        lambda: User.objects.filter(pk=member.pk).update(system_role="superuser"),
    )


@TABLE.register("escalation")
def probe_escalation(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    viewer = context.create_member(project, ProjectRole.VIEWER)
    security = context.create_person(SystemRole.SECURITY_ADMIN)
    actor, own = context.get_actor(viewer), context.get_actor(security)
    yield refuse(
        T("Give oneself a role in the project", "为自己授予项目角色"),
        lambda: set_member_roles(actor=actor, project=project, member=viewer, roles=["approver"]),
    )
    yield refuse(
        T("Make oneself an administrator", "将自己设为管理员"),
        lambda: set_system_role(actor=actor, user=viewer, system_role="security_admin"),
    )
    yield refuse(
        T("Take another administrator's role as the security administrator", "安全管理员为自己更换角色"),
        lambda: set_system_role(actor=own, user=security, system_role="system_admin"),
    )
    yield refuse(
        T("Create a token that may do more than its owner", "创建超出本人权限的令牌"),
        lambda: create_token(actor=actor, project=project, name="x", scopes=["jobs:write"]),
    )
    _, secret = create_token(actor=actor, project=project, name="y", scopes=["read"])
    response = context.open_browser().post(
        f"/api/v1/projects/{project.slug}/jobs",
        {"kind": "noop", "spec": {}},
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {secret}",
    )
    yield expect(T("Submit a job with a token for reading", "使用只读令牌提交任务"), response, 403)


# -- objects ----------------------------------------------------------------------------------------------------------
@TABLE.register("project-isolation")
def probe_project_isolation(context: ProbeContext) -> Iterator[Attempt]:
    own, foreign = context.create_project(), context.create_project()
    person = context.create_member(own, ProjectRole.ENGINEER)
    client = context.open_browser(person)
    names = ("jobs", "datasets", "models", "runs", "artifacts", "approvals")
    allowed = [client.get(f"/api/v1/projects/{own.slug}/{name}").status_code for name in names]
    refused = [client.get(f"/api/v1/projects/{foreign.slug}/{name}").status_code for name in names]
    text = T("Read the lists of another project", "读取其他项目的列表")
    yield Attempt(text, set(refused) == {404} and 200 in allowed, f"own {allowed}, other {refused}")
    stranger = context.get_actor(context.create_person())
    visible, count = [], 0
    for model in apps.get_models():
        query = getattr(model._default_manager.all(), "visible_to", None)
        if query is None or "project" not in {field.name for field in model._meta.get_fields()}:
            continue
        count += 1
        if query(stranger).exclude(**build_plane_filter(model)).exists():
            visible.append(model.__name__)
    text = T("Read rows of every table as a person of no project", "以无项目人员身份读取各数据表的记录")
    yield Attempt(text, count > 5 and not visible, f"{count} tables; visible: {', '.join(visible) or 'none'}")


def build_plane_filter(model: Any) -> dict[str, Any]:
    """Rows of no project are the plane's, which a table may show to everybody."""
    field = model._meta.get_field("project")
    return {"project__isnull": True} if getattr(field, "null", False) else {"pk": None}


@TABLE.register("process-isolation")
def probe_process_isolation(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    target = context.create_person()
    worker, dispatcher = (build_plane_actor(role, host="probe") for role in (PlaneRole.WORKER, PlaneRole.DISPATCHER))
    device = Actor(
        kind="device", label="probe", project_roles={project.pk: frozenset({DeviceRole.DEVICE})}, device_id=0
    )
    for name, actor in (("worker", worker), ("dispatcher", dispatcher), ("device", device)):
        yield refuse(
            T(f"Disable an account as a {name}", f"以 {name} 进程身份停用账户"),
            lambda actor=actor: disable_user(actor=actor, user=target),  # type: ignore[misc]
        )
        yield refuse(
            T(f"Give roles as a {name}", f"以 {name} 进程身份授予角色"),
            lambda actor=actor: set_member_roles(  # type: ignore[misc]
                actor=actor, project=project, member=target, roles=["approver"]
            ),
        )
    outsiders: set[Any] = {DeviceRole.DEVICE, DeviceRole.ENROLMENT, NodeRole.NODE}
    shared = [name for name in policy.DECISIONS if policy.ACTIONS[name] & outsiders]
    yield Attempt(T("Decide as a device or a node", "以设备或节点身份作决定"), not shared, ", ".join(shared) or "none")


@TABLE.register("security-labels")
def probe_security_labels(context: ProbeContext) -> Iterator[Attempt]:
    top = len(list_labels()) - 1
    project = context.create_project()
    low = context.create_member(project, ProjectRole.ENGINEER)
    high = context.create_member(project, ProjectRole.ENGINEER, clearance=top)
    type(project).objects.filter(pk=project.pk).update(security_label=top)
    url = f"/api/v1/projects/{project.slug}/jobs"
    allowed = context.open_browser(high).get(url).status_code
    response = context.open_browser(low).get(url)
    text = T("Read a project above one's clearance", "读取高于自身安全标记的项目")
    yield Attempt(
        text,
        top > 0 and allowed == 200 and response.status_code == 404,
        f"cleared {allowed}, not cleared {response.status_code}",
    )
    listed = Project.objects.visible_to(context.get_actor(low)).filter(pk=project.pk).exists()
    yield Attempt(T("Find it in a list all the same", "在列表中查到该项目"), not listed)
    actor = context.get_actor(low)
    yield refuse(
        T("Lower the label as a member", "项目成员降低安全标记"),
        lambda: set_project_label(actor=actor, project=project, label=list_labels()[0], reason="x"),
    )
    yield refuse(
        T("Raise one's own clearance", "提高自身的安全标记"),
        lambda: set_clearance(actor=actor, user=low, clearance=list_labels()[top], reason="x"),
    )
