"""What differs between the facts that were asked for and those that stand: by JSON pointer (RFC 6901)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Invalid, NotFound
from apps.platform.approvals.models import Approval
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS, get_approval_subject
from deepseek.messages import N_

MAX_FACTS_BYTES = 64 * 2**10
MAX_CHANGES = 50  # of one approval that are named
MAX_VALUE_LENGTH = 300  # of a changed value that are kept
Change = dict[str, Any]  # {path, was, is}; `was` or `is` is absent where there was, or is, nothing
ABSENT = object()
GONE: Change = {"path": "", "was": "there"}


def serialize_facts(facts: Any) -> str:
    """The canonical text of facts; Invalid for what JSON does not know and for more than FACTS_BYTES."""
    try:
        text = encode_canonical_json(facts)
        size = len(text.encode())
    except (TypeError, ValueError) as error:
        raise Invalid(
            "The facts cannot be written as JSON: {error}.",
            error=error,
            code="facts_unusable",
            field="/facts",
            limit="texts, finite numbers, true, false, null, lists and objects",
        ) from None
    if not isinstance(facts, dict) or size > MAX_FACTS_BYTES:
        raise Invalid(
            "The facts take {size} bytes.",
            size=size,
            code="facts_unusable",
            field="/facts",
            limit=f"an object of at most {MAX_FACTS_BYTES} bytes",
            hint=N_("Name large things by their digest."),
        )
    return text


def find_changes(approval: Approval, *, deep: bool = False) -> list[Change]:
    """What is no longer as it was asked for; empty while nothing has changed. `deep` reads bytes too.

    What the row itself says of its facts must fit their digest, which is what the audit trail holds.
    """
    digest = sha256_hex(approval.facts)
    if digest != approval.facts_digest:
        return [{"path": "", "was": approval.facts_digest, "is": digest}]
    if approval.subject_type not in APPROVAL_SUBJECTS:  # a plane of before knew it
        return [GONE]
    try:
        now = encode_canonical_json(dict(get_approval_subject(approval).current_facts(approval, deep=deep)))
    except NotFound:
        return [GONE]
    if sha256_hex(now) == approval.facts_digest:
        return []
    return list(iter_differences(json.loads(approval.facts), json.loads(now)))[:MAX_CHANGES]


def iter_differences(was: Any, now: Any, path: str = "") -> Iterator[Change]:
    """Every leaf that differs; 1 and 1.0 do, because their digests do."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted({*was, *now}):
            step = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from iter_differences(was.get(name, ABSENT), now.get(name, ABSENT), step)
    elif isinstance(was, list) and isinstance(now, list):
        for index in range(max(len(was), len(now))):
            left, right = (side[index] if index < len(side) else ABSENT for side in (was, now))
            yield from iter_differences(left, right, f"{path}/{index}")
    elif was is ABSENT or now is ABSENT or encode_canonical_json(was) != encode_canonical_json(now):
        sides = (("was", was), ("is", now))
        yield {"path": path, **{side: shorten_value(value) for side, value in sides if value is not ABSENT}}


def shorten_value(value: Any) -> Any:
    """The value, or the beginning of its text where that is long."""
    text = encode_canonical_json(value)
    return value if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


def describe_change(change: Change) -> str:
    """A change as a sentence: `/figures/mae was 1.2, is 1.4`."""
    sides = [
        f"{word} {encode_canonical_json(change[word])}" if word in change else f"{word} absent"
        for word in ("was", "is")
    ]
    return f"{change['path'] or 'the whole'} {', '.join(sides)}"
