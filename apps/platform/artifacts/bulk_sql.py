"""Rows for many artifacts at once, whose bytes the caller has put into the store: one transaction, one audit record.

Ten thousand rows through the ORM take a second and more, nearly all of it in Python; so this says its few statements in
SQL, which SQLite and PostgreSQL both read, and makes no objects but for what needs a look.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.db import connection, models, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.artifacts import file_names
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services.damage import repair_row, save_chunk_digests
from apps.platform.artifacts.services.uploads import revive
from apps.platform.artifacts.store import StoredBytes
from apps.platform.audit.services import record

T = TypeVar("T")


class Stored(NamedTuple):
    """Bytes in the store, and what the project is to call them."""

    digest: str
    size: int
    name: str = ""
    media_type: str = file_names.OCTETS
    chunks: bytes = b""  # as of StoredBytes, as is `replaced`
    replaced: bool = False

    @property
    def as_bytes(self) -> StoredBytes:
        return StoredBytes(self.digest, self.size, self.chunks, self.replaced)


def hold_many(*, actor: Actor, project: Project, stored: Sequence[Stored]) -> None:
    """Let the project hold all of `stored`; what it held keeps its name.

    Takes the digests on trust: only for whoever stored the bytes itself, on this machine. Raises Conflict
    (`artifact_collected`) where bytes went as garbage meanwhile; then nothing is written.
    """
    policy.require(actor, "artifact.take_in", project)
    by_digest = {item.digest: item for item in stored}
    if not by_digest:
        return
    with transaction.atomic():
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        lock_or_create_rows(actor, list(by_digest.values()), now)
        unheld = find_unheld_digests(project.pk, by_digest)
        fresh = [item for digest, item in by_digest.items() if digest in unheld]
        if not fresh:
            return
        by = actor.label[:200]
        insert(
            Holding,
            ("project_id", "artifact_id", "name", "media_type", "created_by", "created_at"),
            (
                (project.pk, item.digest, file_names.clean_file_name(item.name), item.media_type, by, now)
                for item in fresh
            ),
        )
        size = sum(item.size for item in fresh)
        record(actor=actor, action="artifact.hold_many", obj=project, after={"artifacts": len(fresh), "size": size})


def lock_or_create_rows(actor: Actor, stored: Sequence[Stored], now: Any) -> None:
    """The rows of these artifacts, locked until the transaction ends, as services.register does it for one."""
    digests = sorted(item.digest for item in stored)
    table, (among_them, value) = Artifact._meta.db_table, build_membership_condition("digest", digests)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # in one order, so that two at once do not wait for each other
            cursor.execute(f"SELECT digest FROM {table} WHERE {among_them} ORDER BY digest FOR NO KEY UPDATE", [value])  # noqa: S608
        cursor.execute(
            f"UPDATE {table} SET touched_at = %s WHERE {among_them} RETURNING digest, damaged_at, chunked_at",  # noqa: S608
            [now, value],
        )
        existing = {digest: (bool(damaged), bool(chunked)) for digest, damaged, chunked in cursor.fetchall()}
    missing = [item for item in stored if item.digest not in existing]
    rows = ((item.digest, item.size, now, now) for item in missing)
    insert(Artifact, ("digest", "size", "created_at", "verified_at"), rows)
    revive([item.digest for item in missing])
    by_digest = {item.digest: item.as_bytes for item in stored}
    repaired = [digest for digest, item in by_digest.items() if item.replaced or existing.get(digest, (False,))[0]]
    for artifact in Artifact.objects.filter(pk__in=repaired):
        repair_row(actor, artifact, by_digest[artifact.digest], timezone.now())
    without = [item for digest, item in by_digest.items() if not existing.get(digest, (False, False))[1]]
    save_chunk_digests(without, timezone.now())


def find_unheld_digests(project_id: int, digests: Collection[str]) -> set[str]:
    """Those of `digests` that the project does not hold."""
    table = Holding._meta.db_table
    return find_unmatched_digests(
        f"SELECT 1 FROM {table} WHERE project_id = %s AND artifact_id = each.value",  # noqa: S608
        [project_id],
        digests,
    )


def find_incomplete_digests(digests: Collection[str]) -> set[str]:
    """Those of `digests` that are no artifact, or a damaged one."""
    return find_unmatched_digests(
        f"SELECT 1 FROM {Artifact._meta.db_table} WHERE damaged_at IS NULL AND digest = each.value",  # noqa: S608
        [],
        digests,
    )


def find_unmatched_digests(row: str, values: Sequence[Any], digests: Collection[str]) -> set[str]:
    """Those of `digests` for which the query `row` of each.value finds none: few of many, so it is they that travel."""
    is_postgres = connection.vendor == "postgresql"
    each = "unnest(%s::text[]) AS each(value)" if is_postgres else "json_each(%s) AS each"
    digest_array = list(digests) if is_postgres else json.dumps(list(digests))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT each.value FROM {each} WHERE NOT EXISTS ({row})", [digest_array, *values])  # noqa: S608
        return {digest for (digest,) in cursor.fetchall()}


def build_membership_condition(column: str, values: Collection[str]) -> tuple[str, Any]:
    """(condition, parameter): that `column` is one of any number of values, as one parameter."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)", list(values)
    return f"{column} IN (SELECT value FROM json_each(%s))", json.dumps(list(values))  # noqa: S608 - a column of ours


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows into the table of `model`; one that is there already stays as it is."""
    places = ", ".join(["%s"] * len(columns))
    text = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
    with connection.cursor() as cursor:
        for part in split_into_batches(rows):
            cursor.executemany(text, part)


def split_into_batches(items: Iterable[T], size: int = 5_000) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
