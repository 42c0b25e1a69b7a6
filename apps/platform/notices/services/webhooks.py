"""What the security administrator does with the webhooks of a project. All of it is recorded and sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.services import change_state, record, seal_now
from apps.platform.notices import validation
from apps.platform.notices.kinds import WEBHOOK_TEST
from apps.platform.notices.models import Delivery, Webhook
from apps.platform.notices.outbox import build_body, build_webhook_delivery
from apps.platform.notices.states import OPEN_DELIVERIES, WebhookState
from apps.platform.notices.webhook_secrets import encrypt_secret, generate_secret
from deepseek.messages import N_, Message

MAX_TESTS_WAITING = 3  # test messages of one webhook that are not sent yet


def create_webhook(
    *, actor: Actor, project: Project, name: str, url: str, kinds: Sequence[str] = ()
) -> tuple[Webhook, str]:
    """Have the notices of the project sent to an address. Returns the webhook and its secret, which is shown once.

    `kinds`: which of them; none: every kind, later ones too. Raises Conflict `webhooks_off`, `name_taken`,
    `too_many_webhooks`; Invalid for a name, an address or a kind.
    """
    require_configuring(actor, project)
    webhook = Webhook(project=project, name=name.strip(), url=validation.validate_url(url), created_by=actor.label)
    webhook.kinds = validation.validate_kinds(kinds)
    check_fields(webhook, "name")
    secret = generate_secret()
    webhook.secret = encrypt_secret(secret)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # two at once must not pass the limit together
        if Webhook.objects.filter(project=project).count() >= validation.MAX_WEBHOOKS:
            raise Conflict(
                "The project has {count} webhooks.",
                count=validation.MAX_WEBHOOKS,
                code="too_many_webhooks",
                limit=validation.MAX_WEBHOOKS,
                hint=N_("Delete one that nobody uses."),
            )
        save_webhook(webhook)
        record_configuration(actor, "webhook.create", webhook, after=build_audit_fields(webhook))
    return webhook, secret


def update_webhook(
    *,
    actor: Actor,
    webhook: Webhook,
    name: str | None = None,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
) -> Webhook:
    """Change its name, address or kinds; None leaves a field. What waits to be sent goes to the new address."""
    require_configuring(actor, webhook)
    with transaction.atomic():
        row = lock_webhook(webhook)
        before = build_audit_fields(row)
        if name is not None:
            row.name = name.strip()
            check_fields(row, "name")
        if url is not None and url.strip() != row.url:
            row.url, row.failures, row.next_at = validation.validate_url(url), 0, None
        if kinds is not None:
            row.kinds = validation.validate_kinds(kinds)
        after = build_audit_fields(row)
        changed = {field for field in after if after[field] != before[field]}
        if changed:
            save_webhook(row)
            fields = {"before": {f: before[f] for f in changed}, "after": {f: after[f] for f in changed}}
            record_configuration(actor, "webhook.update", row, **fields)
    return row


def renew_webhook_secret(*, actor: Actor, webhook: Webhook) -> tuple[Webhook, str]:
    """Replace the secret at once; what is sent from now on is signed with the new one, which is shown once."""
    require_configuring(actor, webhook)
    secret = generate_secret()
    with transaction.atomic():
        row = lock_webhook(webhook)
        row.secret = encrypt_secret(secret)
        row.save(update_fields=["secret"])
        record_configuration(actor, "webhook.renew_secret", row)
    return row, secret


def enable_webhook(*, actor: Actor, webhook: Webhook) -> Webhook:
    """Send to it again, after it was disabled for its failures. Conflict when it is enabled."""
    require_configuring(actor, webhook)
    with transaction.atomic():
        row = lock_webhook(webhook)
        if row.state == WebhookState.ENABLED:
            raise Conflict("The webhook is enabled already.", code="nothing_to_change", field="state")
        fields: dict[str, Any] = {"failures": 0, "next_at": None, "state_reason": {}}
        change_state(row, WebhookState.ENABLED, actor=actor, action="webhook.enable", **fields)
        seal_now()
    return row


def delete_webhook(*, actor: Actor, webhook: Webhook, reason: str = "") -> None:
    """Delete it with what waits to be sent to it."""
    require_configuring(actor, webhook)
    with transaction.atomic():
        row = lock_webhook(webhook)
        record_configuration(actor, "webhook.delete", row, before=build_audit_fields(row), reason=reason[:2000])
        row.delete()


def queue_test_message(*, actor: Actor, webhook: Webhook) -> Delivery:
    """Send a message of kind `webhook.test` to this webhook alone. Conflict while it is disabled, or tests wait."""
    require_configuring(actor, webhook)
    with transaction.atomic():
        row = lock_webhook(webhook)
        if row.state != WebhookState.ENABLED:
            raise Conflict("The webhook is disabled.", code="webhook_disabled", hint=N_("Enable it first."))
        waiting = Delivery.objects.filter(webhook=row, kind=WEBHOOK_TEST, state__in=OPEN_DELIVERIES).count()
        if waiting >= MAX_TESTS_WAITING:
            raise Conflict(
                "{count} test messages wait to be sent.",
                count=waiting,
                code="webhook_tests_waiting",
                limit=MAX_TESTS_WAITING,
                hint=N_("Look at the deliveries: the last error says what is wrong."),
            )
        message = Message("A test of the webhook {name}, by {who}.", name=row.name, who=actor.label)
        path = f"/p/{row.project.slug}/webhooks/{row.pk}"
        delivery = build_webhook_delivery(row, WEBHOOK_TEST, build_body(WEBHOOK_TEST, message, path, row, row.project))
        delivery.save(force_insert=True)
        Webhook.objects.filter(pk=row.pk).update(next_at=None)  # whoever tests does not want to wait for a pause
        record_configuration(actor, "webhook.test", row)
    return delivery


# -- shared ---------------------------------------------------------------------------------------------------------
def require_configuring(actor: Actor, obj: Project | Webhook) -> None:
    """What goes out of the plane is a decision, so the credentials must be nobody else's."""
    project_id = obj.pk if isinstance(obj, Project) else obj.project_id
    require(actor, "webhook.configure", obj)
    require_confirmed(actor, "webhook.configure", project_id=project_id)


def lock_webhook(webhook: Webhook) -> Webhook:
    return Webhook.objects.select_for_update(of=("self",)).select_related("project").get(pk=webhook.pk)


def save_webhook(webhook: Webhook) -> None:
    try:
        with transaction.atomic():
            webhook.save()
    except IntegrityError:
        raise Conflict(
            "The project has a webhook {name!r}.",
            name=webhook.name,
            code="name_taken",
            field="/name",
            hint=N_("Choose another name."),
        ) from None


def build_audit_fields(webhook: Webhook) -> dict[str, Any]:
    """What the trail holds of it. Members read the trail, so of the address only host and digest."""
    return {
        "name": webhook.name,
        "host": webhook.host,
        "url_digest": sha256_hex(webhook.url),
        "kinds": ", ".join(webhook.kinds),
    }


def record_configuration(actor: Actor, action: str, webhook: Webhook, **fields: Any) -> None:
    record(actor=actor, action=action, obj=webhook, **fields)
    seal_now()
