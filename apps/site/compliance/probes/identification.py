"""8.1.4.1, identification and authentication: weak passwords, guessing, idle sessions, plain transport, one factor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError
from django.urls import reverse
from django.utils import timezone

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.middleware import STARTED
from apps.platform.accounts.models import User
from apps.platform.accounts.services import create_user
from apps.site.compliance.probes.context import STRONG, ProbeContext, expect, is_login_redirect, refuse
from apps.site.compliance.probes.outcomes import Attempt, Mode, ProbeTable, roll_back
from apps.site.compliance.texts import Bilingual as T

TABLE = ProbeTable()
MAX_PASSWORD_DAYS = 90
MAX_IDLE_SECONDS = 30 * 60
MAX_FAILURES = 5
WEAK_PASSWORDS = (
    ("", T("Choose an empty password", "使用空口令")),
    ("aB3$xY", T("Choose a password of six characters", "使用6位口令")),
    ("qzvmkpwtrbnxjhgd", T("Choose a password of small letters alone", "使用仅含小写字母的口令")),
    ("73920584610397", T("Choose a password of digits alone", "使用仅含数字的口令")),
    ("password12345", T("Choose a password from the list of common ones", "使用常见弱口令")),
    ("{name}A1", T("Choose a password that holds one's own name", "口令包含用户名")),
    (STRONG, T("Choose the same password again", "重复使用原口令")),
)


@TABLE.register("unique-identity")
def probe_unique_identity(context: ProbeContext) -> Iterator[Attempt]:
    person = context.create_person()
    yield refuse(
        T("Store a second account whose name differs by its case alone", "写入仅大小写不同的重名账户"),
        lambda: User.objects.create(username=person.username.upper()),
        IntegrityError,
    )
    for name, text in (
        ("", T("Create an account without a name", "创建无用户名的账户")),
        (person.username.upper(), T("Create an account with a name that is taken", "创建重名账户")),
        ("\u0430dmin", T("Create an account whose name mixes scripts", "创建混用字符集的仿冒用户名")),
    ):
        yield refuse(text, lambda name=name: create_user(actor=context.operator, username=name))  # type: ignore[misc]


@TABLE.register("password-policy", Mode.STAGES)
def probe_password_policy(context: ProbeContext) -> Iterator[Attempt]:
    def change(password: str) -> bool:
        """Whether a person took this password; `{name}` in it stands for their own."""
        with roll_back():
            person = context.create_person(password=STRONG)
            chosen = password.replace("{name}", person.username)
            form = {"oldpassword": STRONG, "password1": chosen, "password2": chosen}
            context.open_browser(person).post(reverse("account_change_password"), form)
            before = person.password_changed_at
            person.refresh_from_db()
            return person.password_changed_at != before

    for password, text in WEAK_PASSWORDS:
        yield Attempt(text, not change(password), f"length {len(password)}")
    if not change(f"{STRONG}8Zu"):  # a form that takes none would refuse the weak ones too
        yield Attempt(T("Choose a strong password, which is taken", "使用强口令（应被接受）"), False)


@TABLE.register("password-age")
def probe_password_age(context: ProbeContext) -> Iterator[Attempt]:
    old = timezone.now() - timedelta(days=MAX_PASSWORD_DAYS + 1)
    person = context.create_person(password=STRONG, password_changed_at=old)
    response = context.open_browser(person).get(reverse("home"))
    text = T(
        f"Work with a password that is {MAX_PASSWORD_DAYS + 1} days old", f"使用超过{MAX_PASSWORD_DAYS}天未更换的口令"
    )
    led = response.status_code == 302 and "password" in response.headers.get("Location", "")
    yield Attempt(text, led, f"{response.status_code} {response.headers.get('Location', '')}".strip())


@TABLE.register("lock-out")
def probe_lock_out(context: ProbeContext) -> Iterator[Attempt]:
    person = context.create_person(password=STRONG)
    client, url = context.open_browser(), reverse("account_login")
    yield Attempt(
        T("The account is locked after at most five failures", "失败次数上限不超过5次"),
        settings.AXES_FAILURE_LIMIT <= MAX_FAILURES,
        f"LOCKOUT_FAILURES={settings.AXES_FAILURE_LIMIT}",
    )
    for number in range(min(settings.AXES_FAILURE_LIMIT, 20)):
        client.post(url, {"login": person.username, "password": f"wrong-{number}"})
    response = client.post(url, {"login": person.username, "password": STRONG})
    entered = "_auth_user_id" in client.session
    text = T("Log in with the right password after so many wrong ones", "多次失败后使用正确口令登录")
    yield Attempt(text, not entered, str(response.status_code))


@TABLE.register("idle-session")
def probe_idle_session(context: ProbeContext) -> Iterator[Attempt]:
    person, home = context.create_person(), reverse("home")
    client = context.open_browser(person)
    age = client.session.get_expiry_age() if client.session.get_expiry_age() else settings.SESSION_COOKIE_AGE
    limit = min(age, settings.SESSION_COOKIE_AGE)
    text = T("A session ends after at most 30 unused minutes", "会话空闲不超过30分钟即失效")
    yield Attempt(text, settings.SESSION_COOKIE_AGE <= MAX_IDLE_SECONDS, f"{limit} s")
    opened = client.get(home)
    session = client.session
    session.set_expiry(-1)
    session.save()
    response = client.get(home)
    text = T("Use a session after its idle time", "空闲超时后继续使用会话")
    yield Attempt(text, opened.status_code == 200 and is_login_redirect(response), str(response.status_code))
    client = context.open_browser(person)
    client.get(home)
    session = client.session
    session[STARTED] = int(time.time()) - settings.SESSION_ABSOLUTE_AGE - 1
    session.save()
    response = client.get(home)
    yield Attempt(T("Use a session after its longest time", "超过最长时限后继续使用会话"), is_login_redirect(response))


@TABLE.register("transport")
def probe_transport(context: ProbeContext) -> Iterator[Attempt]:
    url = reverse("account_login")
    response = context.open_browser(plain=True).get(url)
    refused = response.status_code in (301, 302, 308) and response.headers.get("Location", "").startswith("https://")
    yield Attempt(T("Open the log-in page without TLS", "不经TLS打开登录页面"), refused, str(response.status_code))
    response = context.open_browser(plain=True).post(url, {"login": "nobody", "password": "x"})
    text = T("Send a password without TLS", "不经TLS提交口令")
    yield Attempt(text, response.status_code in (301, 302, 308), str(response.status_code))
    response = context.open_browser(csrf=True).get(url)
    cookies = list(response.cookies.values())
    yield Attempt(
        T("Cookies are sent over TLS alone", "Cookie仅经TLS发送"),
        bool(cookies) and all(cookie["secure"] for cookie in cookies) and settings.SESSION_COOKIE_SECURE,
        ", ".join(f"{cookie.key} secure={bool(cookie['secure'])}" for cookie in cookies),
    )
    policy = response.headers.get("Strict-Transport-Security", "")
    yield Attempt(T("Browsers are told to use TLS alone (HSTS)", "启用HSTS"), "max-age=" in policy, policy or "absent")


@TABLE.register("second-factor")
def probe_second_factor(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    people = {role.value: context.create_person(role) for role in SystemRole}
    people["approver"] = context.create_member(project, ProjectRole.APPROVER)
    for role, person in people.items():
        response = context.open_browser(person, factor=False).get(reverse("home"))
        text = T(f"Work as {role} with a password alone", f"仅凭口令以 {role} 身份操作")
        yield expect(text, response, 302, 403)
