"""Security labels by number and name: a place in SECURITY_LABELS, the lowest first (GB/T 22239-2019, 8.1.4.2 g)."""

from __future__ import annotations

from django.conf import settings

from apps.core.errors import Invalid
from deepseek.messages import N_

MAX_LABEL_REASON = 2000  # characters


def list_labels() -> list[str]:
    names: list[str] = settings.ENV.security_labels
    return names


def get_label_name(level: int) -> str:
    """The name of a level; its number where the setting has lost it."""
    names = list_labels()
    return names[level] if 0 <= level < len(names) else str(level)


def parse_label(value: str, *, field: str) -> int:
    """The level of a name; Invalid for another."""
    names = list_labels()
    if value not in names:
        raise Invalid(
            "There is no security label {found!r}.",
            found=str(value)[:40],
            code="unknown_label",
            field=field,
            limit=", ".join(names),
            hint=N_("The setting SECURITY_LABELS names them."),
        )
    return names.index(value)


def check_label_reason(reason: str, *, required: bool) -> str:
    """The reason, stripped; Invalid where access is widened without one."""
    text = reason.replace("\x00", "").strip()
    limit, hint = f"1 to {MAX_LABEL_REASON} characters", N_("Recorded in the audit trail as written.")
    if required and not text:
        raise Invalid(
            "Say why more people may see it.", code="reason_required", field="/reason", limit=limit, hint=hint
        )
    if len(text) > MAX_LABEL_REASON:
        raise Invalid("reason has {count} characters.", count=len(text), field="/reason", limit=limit, hint=hint)
    return text
