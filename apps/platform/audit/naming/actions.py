"""The actions that the filter of the trail offers, and those that it finds by a part of their names."""

from __future__ import annotations

from apps.core.db import fast_sql
from apps.core.policy import ACTIONS
from apps.platform.audit.naming.sentences import SENTENCES, VERBS

READINGS = frozenset({"view", "look"})  # of the policy most are not recorded
KNOWN_ACTIONS: tuple[str, ...] = tuple(
    sorted(
        {*SENTENCES, "approval.approve", "approval.look"}
        | {action for action in ACTIONS if (verb := action.rpartition(".")[2]) in VERBS and verb not in READINGS}
    )
)
"""What the field suggests. The trail has more: each state that a row moved to, and what no sentence is about."""
RECORDED_ACTIONS = """
WITH RECURSIVE recorded(action) AS (
    SELECT MIN(action) FROM audit_auditrecord
    UNION ALL
    SELECT (SELECT MIN(action) FROM audit_auditrecord WHERE action > recorded.action)
      FROM recorded WHERE recorded.action IS NOT NULL)
SELECT action FROM recorded WHERE action IS NOT NULL
"""
"""Each action of the trail once, by one look into the index audit_action for each: DISTINCT would read all of it."""


def find_actions(part: str) -> list[str]:
    """Recorded actions whose name holds `part`: "approve" is approval.approve and approval.approved. One query."""
    return [action for (action,) in fast_sql.fetch(RECORDED_ACTIONS, []) if part in action]
