"""Known hardware conflicts: those that this version ships, with those that the site has imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid
from apps.platform.audit import services as audit
from apps.platform.nodes.models import ConflictRules
from deepseek.doctor.conflict_rules import (
    ConflictRulesError,
    find_log_conflicts,
    load_builtin_rules,
    merge_rules,
    read_signed_rules,
)
from deepseek.messages import N_
from deepseek.signing.dsse import Envelope

MAX_LINES = 400  # of a log that a page looks through


@dataclass(frozen=True, slots=True)
class LogConflict:
    """A known conflict that a log tells of, and the line that does."""

    id: str
    cause: str
    remedy: str
    source: str
    line: str


@lru_cache(maxsize=1)
def get_builtin_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = load_builtin_rules()["rules"]
    return rules


def get_site_rules() -> list[dict[str, Any]]:
    """Rules of the newest import; none where there was none."""
    newest = ConflictRules.objects.order_by("-pk").values_list("rules", flat=True).first()
    return list(newest or [])


def find_conflicts_in_log(lines: Iterable[str]) -> list[LogConflict]:
    """The known conflicts that lines of a log tell of, each once. One query."""
    rules = merge_rules(get_builtin_rules(), get_site_rules())
    return [
        LogConflict(rule["id"], rule["cause"], rule["remedy"], rule["source"], line[:300])
        for rule, line in find_log_conflicts(list(lines)[-MAX_LINES:], rules)
    ]


def import_conflict_rules(*, actor: Actor, content: bytes, keys: str, name: str) -> ConflictRules:
    """Take a signed file of rules in, in place of what was imported before.

    Raises Invalid for a signature that none of `keys` made and for rules at fault; Conflict for the same file again.
    """
    policy.require(actor, "node.import_conflicts")
    try:
        document = read_signed_rules(content, keys, name)
    except ConflictRulesError as error:
        raise Invalid(
            "The conflict rules in {name} are not imported: {what}.",
            name=name,
            what=str(error.message.params.get("what", error.message)),
            code="bad_conflicts",
            field=error.field or "FILE",
            limit=error.limit,
            hint=N_("docs/doctor.md shows the format and how to sign."),
        ) from None
    envelope = Envelope.parse(content)
    digest = sha256_hex(envelope.payload)
    with transaction.atomic():
        newest = ConflictRules.objects.select_for_update().order_by("-pk").first()
        if newest is not None and newest.digest == digest:
            raise Conflict(
                "These rules are imported already, as version {version}.",
                version=newest.version,
                code="already_imported",
                field="FILE",
            )
        row = ConflictRules.objects.create(
            version=document["version"],
            digest=digest,
            key_ids=[each.key_id for each in envelope.signatures],
            rules=document["rules"],
            imported_by=actor.label[:200],
        )
        audit.record(
            actor=actor,
            action="node.import_conflicts",
            obj=row,
            after={"version": row.version, "digest": digest, "keys": row.key_ids, "rules": len(row.rules)},
        )
    return row
