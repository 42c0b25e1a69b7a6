"""Send notices by mail over the site's SMTP server: plain text, names and a link, in the language of the reader."""

from __future__ import annotations

import smtplib
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.utils import translation
from django.utils.translation import gettext as _

from apps.core.messages import translate_message
from apps.platform.accounts.models import Membership, User
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Delivery, Notice
from apps.platform.notices.outbox import build_url

MAX_SUBJECT_LENGTH = 150
BACKEND = "django.core.mail.backends.smtp.EmailBackend"


class MailFailed(Exception):
    """The server did not take it, and may later."""


class MailUndeliverable(Exception):
    """Another attempt is no use; the text says why."""


def open_mail_connection() -> Any:
    return get_connection(
        BACKEND,
        host=settings.EMAIL_HOST,
        port=settings.EMAIL_PORT,
        username=settings.EMAIL_HOST_USER,
        password=settings.EMAIL_HOST_PASSWORD,
        use_tls=settings.EMAIL_USE_TLS,
        use_ssl=settings.EMAIL_USE_SSL,
        timeout=settings.EMAIL_TIMEOUT,
    )


def send_notice_mail(delivery: Delivery, connection: Any) -> None:
    """Send one mail; return once the server has taken it. Raises MailFailed or MailUndeliverable."""
    notice = delivery.notice
    if notice is None:
        raise MailUndeliverable("the notice is removed")
    require_recipient(notice)
    message = build_mail(delivery, notice, connection)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as failure:
        codes = [code for code, _text in failure.recipients.values()]
        refused = f"the server refused the recipient: {codes[0] if codes else ''}".strip()
        raise (MailUndeliverable if codes and codes[0] >= 500 else MailFailed)(refused) from None
    except (OSError, smtplib.SMTPException) as failure:
        raise MailFailed(f"{type(failure).__name__}: {failure}"[:300]) from None


def require_recipient(notice: Notice) -> None:
    """Whoever has been disabled, or has left the project, is told nothing more of it."""
    person = notice.recipient
    if not person.is_active or not person.email:
        raise MailUndeliverable("the person is disabled, or has no address")
    if notice.project_id is None or person.system_role:
        return
    memberships = Membership.objects.filter(project=notice.project_id, user=person)
    if not memberships.filter(project__security_label__lte=person.clearance).exists():
        raise MailUndeliverable("the person has left the project, or is not cleared for it")


def build_mail(delivery: Delivery, notice: Notice, connection: Any) -> EmailMessage:
    """The mail of a notice. Its Message-ID is the delivery's id, so a mail that is sent twice can be told as one."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2]
    with translation.override(find_language(notice.recipient)):
        text = flatten(translate_message(notice.message))
        kind = str(NOTICE_KINDS[notice.kind].label) if notice.kind in NOTICE_KINDS else notice.kind
        lines = [
            text,
            "",
            build_url(notice.path),
            "",
            "-- ",
            _("You receive this mail because you chose mail for: %(kind)s.") % {"kind": kind},
        ]
        lines.append(f"{_('Change your notice channels')}: {build_url('/account/notices')}")
    return EmailMessage(
        subject=text[:MAX_SUBJECT_LENGTH],
        body="\n".join(lines),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[notice.recipient.email],
        connection=connection,
        headers={"Message-ID": f"<{delivery.event_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


def find_language(person: User) -> str:
    return person.language or settings.LANGUAGE_CODE


def flatten(text: str) -> str:
    """The text on one line: a name with a line break in it must not become a header."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
