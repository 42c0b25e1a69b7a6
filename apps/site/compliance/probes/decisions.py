"""What people decide: a second factor that is fresh at an approval, and emergency access by two that ends by itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.canonical import sha256_hex
from apps.platform.accounts.models import Project, User
from apps.platform.approvals.models import Approval
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.emergency.services import confirm_grant, create_key, request_grant, use_keys
from apps.site.compliance.probes.context import STRONG, ProbeContext, refuse, refuse_row
from apps.site.compliance.probes.outcomes import Attempt, ProbeTable
from apps.site.compliance.texts import Bilingual as T

TABLE = ProbeTable()
REASON = "probe"
WRONG_CODE, SHORT_CODE = "000000", "123"


@TABLE.register("fresh-factor")
def probe_fresh_factor(context: ProbeContext) -> Iterator[Attempt]:
    """At the very request that decides: a session that has given its factor at the log-in is not enough."""
    project = context.create_project()
    approval = create_approval(project)
    approver = context.create_member(project, ProjectRole.APPROVER, password=STRONG)
    without = context.create_member(project, ProjectRole.APPROVER, password=STRONG)
    TOTP.activate(approver, generate_totp_secret())
    for person, proof, code, text in (
        (approver, {"code": WRONG_CODE}, "password_missing", T("Approve without the password", "审批时不再输入口令")),
        (
            approver,
            {"password": STRONG},
            "code_missing",
            T("Approve in an open session without a code of the second factor", "在已登录会话中审批而不提供动态码"),
        ),
        (
            approver,
            {"password": STRONG, "code": SHORT_CODE},
            "code_wrong",
            T("Approve with a wrong code", "使用错误的动态码审批"),
        ),
        (
            without,
            {"password": STRONG},
            "second_factor_missing",
            T("Approve as a person who has no second factor", "未设置双因素的人员进行审批"),
        ),
    ):
        yield try_approval(context, approval, person, proof, code, text)


def create_approval(project: Project) -> Approval:
    """A request of nobody in particular that waits for one vote."""
    return Approval.objects.create(
        project=project,
        subject_type="probe",
        subject_id="1",
        title="Probe",
        facts="{}",
        facts_digest=sha256_hex("{}"),
        requester="probe",
        needed=1,
        eligible=1,
        deadline_at=timezone.now() + timedelta(days=1),
    )


def try_approval(
    context: ProbeContext, approval: Approval, person: User, proof: dict[str, str], code: str, text: T
) -> Attempt:
    """It holds if the answer is the refusal of this code, and nobody has voted."""
    body: dict[str, Any] = {"reason": REASON, "facts_digest": approval.facts_digest, **proof}
    url = f"/api/v1/projects/{approval.project.slug}/approvals/{approval.pk}/approve"
    response = context.open_browser(person).post(url, body, content_type="application/json")
    holds = f'"{code}"' in response.content.decode() and not approval.votes.exists()
    return Attempt(text, holds, f"{response.status_code}, {code} is expected")


@TABLE.register("emergency-access")
def probe_emergency_access(context: ProbeContext) -> Iterator[Attempt]:
    asker, same = (context.create_person(SystemRole.SECURITY_ADMIN) for _ in range(2))
    grant = request_access(context, asker)
    for person, text in (
        (asker, T("Confirm one's own request for emergency access", "自行确认本人的应急访问申请")),
        (same, T("Confirm the request of an administrator of the same kind", "由同类管理员确认应急访问申请")),
    ):
        actor = context.get_actor(person)
        yield refuse(text, lambda actor=actor: confirm_grant(actor=actor, grant=grant))  # type: ignore[misc]
    now, row = timezone.now(), EmergencyGrant.objects.filter(pk=grant.pk)
    ends = {"state": "active", "expires_at": now + timedelta(hours=1)}
    text = T("Write a grant into the database without a second person", "绕过服务写入无第二人确认的授权")
    yield refuse_row(text, lambda: row.update(**ends))
    text = T("Write oneself as the second person", "绕过服务将本人写为确认人")
    yield refuse_row(text, lambda: row.update(confirmed_by=asker, **ends))
    text = T("Lend more than 24 hours", "申请超过24小时的应急访问")
    yield refuse(text, lambda: request_access(context, context.create_person(SystemRole.SECURITY_ADMIN), hours=25))
    yield from try_expiry(context)
    keys = [create_key(actor=context.operator, slot=slot) for slot in (1, 2)]
    for pair, text in (
        ((keys[0], keys[0]), T("Use one printed key twice", "将同一应急密钥使用两次")),
        (
            (keys[0], secrets.token_hex(16)),
            T("Use one printed key and an invented one", "使用一个真密钥和一个伪造密钥"),
        ),
    ):
        yield refuse(text, lambda pair=pair: use_pair(context, asker, pair))  # type: ignore[misc]


def request_access(context: ProbeContext, person: User, hours: int = 1) -> EmergencyGrant:
    role = SystemRole.SYSTEM_ADMIN
    return request_grant(actor=context.get_actor(person), project=None, role=role, reason=REASON, hours=hours)


def try_expiry(context: ProbeContext) -> Iterator[Attempt]:
    """Lend a role as two people do, and act under it before and after its end."""
    borrower, lender = (
        context.create_person(SystemRole.SECURITY_ADMIN),
        context.create_person(SystemRole.SYSTEM_ADMIN),
    )
    grant = confirm_grant(actor=context.get_actor(lender), grant=request_access(context, borrower))
    borrower.refresh_from_db()
    text = T("Two people lend a role, which counts", "双人确认后应急访问生效（应被允许）")
    yield Attempt(text, can_create_people(context.get_actor(borrower)))
    over = timezone.now() - timedelta(seconds=1)
    EmergencyGrant.objects.filter(pk=grant.pk).update(expires_at=over)
    text = T("Act under emergency access past its end", "应急访问到期后继续使用")
    yield Attempt(text, not can_create_people(context.get_actor(borrower)), f"ended {over:%H:%M:%S}")


def can_create_people(actor: Actor) -> bool:
    return policy.is_allowed(actor, "user.create")


def use_pair(context: ProbeContext, person: User, keys: tuple[str, str]) -> None:
    use_keys(actor=context.operator, person=person, role=SystemRole.SYSTEM_ADMIN, reason=REASON, hours=1, keys=keys)
