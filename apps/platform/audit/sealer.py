"""The sealer: gives committed records their number and links them. It never touches the hot path.

Rows are taken in the order of their ids, as far as they are committed; a row with a lower id that commits later is
simply sealed later. So the chain has no gap, whatever rolls back, and no row is ever passed over for good.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.audit.checkpoints import write_checkpoint_if_due
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.verifier.verify import SHA256, SM3, Link, body_digest, chain_hash

BATCH = 1000
HEAD = 1  # the primary key of the one ChainHead


def run_sealer_round(actor: Actor) -> int:
    """One round of the dispatcher: seal what there is, write a checkpoint when one is due. Returns rows sealed."""
    require(actor, "audit.seal")
    sealed = seal_all()
    write_checkpoint_if_due()
    return sealed


def seal(*, actor: Actor, limit: int = BATCH) -> int:
    """Seal one batch, at most `limit` rows. Returns how many."""
    require(actor, "audit.seal")
    return seal_batch(limit)


def seal_all() -> int:
    """Seal batches until one is not full: what is written meanwhile is the next round's. Returns rows sealed."""
    total = 0
    while rows := seal_batch(BATCH):
        total += rows
        if rows < BATCH:
            break
    return total


def seal_batch(limit: int) -> int:
    """Lock the head, number and link at most `limit` rows, move the head; one transaction."""
    unsealed = AuditRecord.objects.filter(seq__isnull=True).order_by("id")
    if not unsealed.exists():  # most rounds: no lock, no write
        return 0
    with transaction.atomic():
        head = ChainHead.objects.select_for_update().get(pk=HEAD)
        # Read after the lock, in a statement of its own: PostgreSQL then sees what the sealer before us wrote.
        links = link_up(head, list(unsealed.values_list("id", "body")[:limit]))
        if not links:
            return 0
        with connection.cursor() as cursor:
            write_links(cursor, links)
        head.seq, head.hash, head.sealed_at = links[-1].seq, links[-1].hash, timezone.now()
        head.save(update_fields=["seq", "hash", "sealed_at"])
    return len(links)


def link_up(head: ChainHead, rows: list[tuple[int, str]]) -> list[Link]:
    """The links that these rows become behind the head."""
    links: list[Link] = []
    algorithm = SM3 if settings.ENV.audit_sm3 else SHA256
    seq, prev = head.seq, head.hash
    for row_id, body in rows:
        seq += 1
        digest = body_digest(body, algorithm)
        links.append(Link(seq, row_id, prev, chain_hash(prev, seq, digest, algorithm), digest))
        prev = links[-1].hash
    return links


def write_links(cursor: CursorWrapper, links: list[Link]) -> None:
    """One statement per batch on PostgreSQL, one prepared statement on SQLite: tens of thousands of rows a second."""
    table = connection.ops.quote_name(AuditRecord._meta.db_table)
    if connection.vendor == "postgresql":
        cursor.execute(
            f"UPDATE {table} AS r SET seq = v.seq, prev = v.prev, hash = v.hash"  # noqa: S608
            " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS v(id, seq, prev, hash)"
            " WHERE r.id = v.id AND r.seq IS NULL",
            [[getattr(link, name) for link in links] for name in ("id", "seq", "prev", "hash")],
        )
    else:
        cursor.executemany(
            f"UPDATE {table} SET seq = %s, prev = %s, hash = %s WHERE id = %s AND seq IS NULL",  # noqa: S608
            [(link.seq, link.prev, link.hash, link.id) for link in links],
        )
    if cursor.rowcount != len(links):
        raise RuntimeError(f"sealing {len(links)} audit records changed {cursor.rowcount}: somebody else writes them")
