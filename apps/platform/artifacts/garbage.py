"""Artifacts that nothing cites, and their bytes: found by one function, which the dry run and the run share.

Cited is what a foreign key of any model leads to, except those of Holding, which says who may see bytes and not that
something needs them, and of ChunkDigests, which describes them. Digests in plain columns are asked of
ARTIFACT_CITATIONS. What came, or came again, within the time of grace is no garbage, whatever cites it.

No bytes are lost to a race (docs/adr/0017). Rows are locked, looked at again and deleted, all in the transaction in
which the bytes go, so no foreign key can come to lead to what is gone. Whoever registers equal bytes takes the same
lock first: it comes before, and then the second look sees a touched row; or after, and then it makes a new row, finds
the digest among the Collected, and looks whether its bytes are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.registry import Registry
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import split_into_batches
from apps.platform.artifacts.models import Artifact, ArtifactQuerySet, ChunkDigests, Collected, Holding
from apps.platform.artifacts.store import Store, StoredObject
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record

GRACE = timedelta(days=7)
TOGETHER = 100  # artifacts in one transaction, and in one audit record
LOOKED_AT = 1_000  # artifacts, or objects, that are asked about at once

Cites = Callable[[Collection[str]], set[str]]
ARTIFACT_CITATIONS: Registry[Cites] = Registry("ARTIFACT_CITATIONS")
"""By app: those of these digests that it names in a column without a foreign key (docs/adr/0017)."""


@dataclass(frozen=True, slots=True, order=True)
class Garbage:
    """`known`: it has a row that nothing cites; else the bytes lie in the store and no row names them."""

    digest: str
    size: int
    known: bool


@dataclass(slots=True)
class GarbageReport:
    """What was, or of a dry run would be, collected, in the order of digests. `kept`: cited or touched meanwhile."""

    found: list[Garbage]
    gone: list[Garbage] = field(default_factory=list)
    kept: list[Garbage] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.gone)


def collect_garbage(*, actor: Actor, older_than: timedelta = GRACE, dry_run: bool = False) -> GarbageReport:
    """Forget the artifacts, and the bytes in the store, that nothing cites and that are older than `older_than`.

    With `dry_run` nothing is changed, and `gone` lists what a run at this moment would forget. Raises Unavailable when
    the store is away.
    """
    policy.require(actor, "artifact.collect")
    at, cutoff = get_store(), timezone.now() - older_than
    done = GarbageReport(sorted(iter_garbage(at, cutoff)))
    if dry_run:
        done.gone = list(done.found)
        return done
    for part in split_into_batches(done.found, TOGETHER):
        gone = forget(actor, at, part, cutoff)
        done.gone += gone
        done.kept += [item for item in part if item not in gone]
    return done


# -- what is garbage ------------------------------------------------------------------------------------------------
def iter_garbage(at: Store, cutoff: datetime, tick: Callable[[], None] = lambda: None) -> Iterator[Garbage]:
    """What nothing cites, and was not touched since `cutoff`. `tick` is called now and then, and may raise."""
    at.check()
    for part in iter_uncited_parts(cutoff, tick):
        cited = find_cited_digests([digest for digest, _ in part])
        for digest, size in part:
            tick()
            if digest not in cited and not is_recent(at, digest, cutoff):
                yield Garbage(digest, size, known=True)
    for objects in split_into_batches(iter_untouched_objects(at, cutoff, tick), LOOKED_AT):
        digests = [item.digest for item in objects]
        cited_digests = set(Artifact.objects.filter(pk__in=digests).values_list("digest", flat=True))
        cited_digests |= find_cited_digests([digest for digest in digests if digest not in cited_digests])
        yield from (
            Garbage(item.digest, item.size, known=False) for item in objects if item.digest not in cited_digests
        )


def iter_uncited_parts(cutoff: datetime, tick: Callable[[], None]) -> Iterator[list[tuple[str, int]]]:
    """(digest, size) of what is uncited, of so many artifacts at a time: few of a million may be."""
    last = ""
    while True:
        tick()
        rows = Artifact.objects.filter(digest__gt=last).order_by("digest").values_list("digest", flat=True)
        if not (digests := list(rows[:LOOKED_AT])):
            return
        candidates = filter_uncited(cutoff).filter(digest__gt=last, digest__lte=digests[-1])
        last = digests[-1]
        yield list(candidates.values_list("digest", "size"))


def iter_untouched_objects(at: Store, cutoff: datetime, tick: Callable[[], None]) -> Iterator[StoredObject]:
    for item in at.objects():
        tick()
        if item.touched < cutoff.timestamp():
            yield item


def filter_uncited(cutoff: datetime) -> ArtifactQuerySet:
    """Artifacts that no foreign key leads to; without those that a project got to hold since `cutoff`."""
    artifacts = Artifact.objects.annotate(came=Coalesce("touched_at", "created_at"))
    artifacts = artifacts.filter(came__lt=cutoff)
    artifacts = artifacts.exclude(Exists(Holding.objects.filter(artifact=OuterRef("pk"), created_at__gte=cutoff)))
    for model, name in list_citing_keys():
        artifacts = artifacts.exclude(Exists(model._base_manager.filter(**{name: OuterRef("pk")})))
    return artifacts.order_by("digest")


def list_citing_keys() -> list[tuple[Any, str]]:
    """(model, name of the field) of every relation that keeps an artifact: all but Holding's and ChunkDigests'."""
    return [(model, name) for model, name in list_foreign_keys_to(Artifact) if model not in (Holding, ChunkDigests)]


def list_foreign_keys_to(model: type[models.Model]) -> list[tuple[Any, str]]:
    """(model, name of the field) of every foreign key that leads to `model`, those without a way back among them."""
    relations = [
        relation
        for relation in model._meta.get_fields(include_hidden=True)
        if relation.auto_created and relation.is_relation
    ]
    return [(relation.related_model, relation.field.name) for relation in relations if hasattr(relation, "field")]


def find_cited_digests(digests: Collection[str]) -> set[str]:
    """Those of `digests` that stand in a column without a foreign key."""
    cited: set[str] = set()
    if digests:
        for cites in ARTIFACT_CITATIONS.values():
            cited |= cites(digests)
    return cited


def is_recent(at: Store, digest: str, cutoff: datetime) -> bool:
    """Whether a writer of equal bytes found the object since `cutoff`: it is about to register it."""
    with suppress(FileNotFoundError):
        return at.touched(digest) >= cutoff.timestamp()
    return False


# -- and how it goes ------------------------------------------------------------------------------------------------
def forget(actor: Actor, at: Store, part: list[Garbage], cutoff: datetime) -> list[Garbage]:
    """Those of `part` that are still garbage, gone now with their holdings; one transaction, one record."""
    with transaction.atomic():
        digests = [item.digest for item in part]
        rows = lock_artifacts(digests)
        created = set[str]()
        for item in part:
            if item.digest not in rows:  # the lock of bytes without a row is the row; two who make it wait in turn
                _, is_new = Artifact.objects.get_or_create(digest=item.digest, defaults={"size": item.size})
                created |= {item.digest} if is_new else set()
        lock_artifacts(digests)
        garbage_now = set(filter_uncited(cutoff).filter(pk__in=digests).values_list("digest", flat=True))
        garbage_now -= find_cited_digests(garbage_now)
        gone = [
            item
            for item in part
            if (item.digest in garbage_now if item.known else item.digest in created)
            and not is_recent(at, item.digest, cutoff)
        ]
        Artifact.objects.filter(pk__in=created - {item.digest for item in gone}).delete()
        remove(actor, at, gone)
    return gone


def rollback_uploads(
    *, actor: Actor, project: Project, artifacts: Sequence[Artifact], since: datetime
) -> list[Garbage]:
    """Of what a request that was refused has stored, forget what it alone brought; returns it. Call it outside of
    transactions.

    That is: a row made since `since` and not registered again, held by `project` alone, cited by nothing, its bytes
    not found by another writer after that row was made. Whatever else there is waits for its time of grace. A writer
    that put equal bytes in place before it, and registers them later, gets a Conflict and sends them again.
    """
    policy.require(actor, "artifact.upload", project)
    gone: list[Garbage] = []
    for part in split_into_batches(sorted({artifact.digest for artifact in artifacts}), TOGETHER):
        gone += rollback_upload_batch(actor, project, part, since)
    return gone


def rollback_upload_batch(actor: Actor, project: Project, digests: list[str], since: datetime) -> list[Garbage]:
    """One transaction, one record."""
    at = get_store()
    with transaction.atomic():
        rows = lock_artifacts(digests)
        mine = [artifact for artifact in rows.values() if artifact.created_at >= since and artifact.touched_at is None]
        of_others = Holding.objects.exclude(project=project).filter(artifact=OuterRef("pk"))
        removable = filter_uncited(timezone.now()).filter(
            ~Exists(of_others), pk__in=[artifact.digest for artifact in mine]
        )
        removable_digests = set(removable.values_list("digest", flat=True))
        removable_digests -= find_cited_digests(removable_digests)
        gone = [
            Garbage(artifact.digest, artifact.size, known=True)
            for artifact in mine
            if artifact.digest in removable_digests and not is_recent(at, artifact.digest, artifact.created_at)
        ]
        remove(actor, at, gone, action="artifact.take_back", project_id=project.pk)
    return gone


def remove(
    actor: Actor, at: Store, gone: Sequence[Garbage], *, action: str = "artifact.collect", project_id: int | None = None
) -> None:
    """Rows, then bytes, of artifacts whose rows the caller has locked; one record."""
    if not gone:
        return
    names = [item.digest for item in gone]
    Holding.objects.filter(artifact__in=names).delete()
    ChunkDigests.objects.filter(artifact__in=names).delete()
    Artifact.objects.filter(pk__in=names).delete()  # raises where anything cites one after all
    rows = [Collected(digest=digest, at=timezone.now()) for digest in names]
    Collected.objects.bulk_create(rows, ignore_conflicts=True)
    after = {"artifacts": len(gone), "bytes": sum(item.size for item in gone), "digests": names}
    record(actor=actor, action=action, object_type="artifact", object_id="many", project_id=project_id, after=after)
    for digest in names:
        at.collect(digest)


def lock_artifacts(digests: list[str]) -> dict[str, Artifact]:
    """The rows, locked in one order."""
    artifacts = Artifact.objects.select_for_update().filter(pk__in=digests).order_by("pk")
    return {artifact.digest: artifact for artifact in artifacts}
