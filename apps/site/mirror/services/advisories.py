"""Advisories about packages, by a file of the OSV schema that was carried in: one record, a list of them, or a zip."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.audit.services import record
from apps.site.mirror.advisory_matching import is_affected
from apps.site.mirror.models import Advisory, AdvisoryFeed, Package, PackageVersion
from apps.site.mirror.services.index_rows import lock_index, mark_changed, refresh_package
from deepseek.messages import N_, Message

ECOSYSTEM = "PyPI"
MAX_FEED_BYTES = 2 << 30
MAX_RECORD_BYTES = 16 << 20
MAX_RECORDS = 500_000
ROWS_PER_INSERT = 500


def import_advisories(*, actor: Actor, path: Path) -> AdvisoryFeed:
    """Take the feed in place of the former one, and look every version of the index up in it. Raises Invalid."""
    policy.require(actor, "package.import_advisories")
    if not path.is_file():
        raise build_feed_error(path, Message("there is no such file"))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rows: dict[tuple[str, str], Advisory] = {}
    for entry in iter_records(path):
        for row in build_advisories(entry, path):
            rows[row.package_name, row.advisory_id] = row
    dates = [row.modified_at for row in rows.values() if row.modified_at]
    with transaction.atomic():
        index, now = lock_index(), timezone.now()
        AdvisoryFeed.objects.all().delete()
        feed = AdvisoryFeed.objects.create(
            name=path.name[:255],
            digest=digest,
            dated_at=max(dates, default=None),
            advisories=len(rows),
            imported_by=actor.label[:200],
        )
        for row in rows.values():
            row.feed = feed
        Advisory.objects.bulk_create(rows.values(), batch_size=ROWS_PER_INSERT)
        mark_changed(index, apply_advisories(rows.values()), now)
        record(
            actor=actor,
            action="package.import_advisories",
            obj=feed,
            after={"name": feed.name, "advisories": len(rows), "dated_at": feed.dated_at},
            digests={"feed": digest},
        )
    return feed


def apply_advisories(rows: Any) -> list[Package]:
    """Set which advisories every version of the index has; the packages for which that changed."""
    by_name: dict[str, list[Advisory]] = {}
    for row in rows:
        by_name.setdefault(row.package_name, []).append(row)
    changed: list[Package] = []
    for package in Package.objects.prefetch_related("versions").iterator(chunk_size=500):
        known = sorted(by_name.get(package.name, []), key=lambda row: row.advisory_id)
        stale: list[PackageVersion] = []
        for version in package.versions.all():
            ids = [row.advisory_id for row in known if is_affected(row.affected, Version(version.version))]
            if ids != version.advisory_ids:
                version.advisory_ids = ids
                stale.append(version)
        if stale:
            PackageVersion.objects.bulk_update(stale, ["advisory_ids"], batch_size=ROWS_PER_INSERT)
            refresh_package(package)
            changed.append(package)
    return changed


# -- reading a feed -------------------------------------------------------------------------------------------------
def iter_records(path: Path) -> Iterator[Mapping[str, Any]]:
    """Every OSV record of the file. Raises Invalid."""
    entries = iter_zip(path) if zipfile.is_zipfile(path) else iter_json(path)
    for count, entry in enumerate(entries, 1):
        if count > MAX_RECORDS:
            raise build_feed_error(path, Message("it has more than {most} records", most=MAX_RECORDS))
        if not isinstance(entry, dict):
            raise build_feed_error(path, Message("record {number} is no object", number=count))
        yield entry


def iter_json(path: Path) -> Iterator[Any]:
    if path.stat().st_size > MAX_FEED_BYTES:
        raise build_feed_error(path, Message("it has more than {most} bytes", most=MAX_FEED_BYTES))
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as failure:
        raise build_feed_error(path, Message("it is no JSON ({fault})", fault=str(failure)[:200])) from None
    if isinstance(document, dict):
        document = document["vulns"] if isinstance(document.get("vulns"), list) else [document]
    if not isinstance(document, list):
        raise build_feed_error(path, Message("it is neither a record nor a list"))
    yield from document


def iter_zip(path: Path) -> Iterator[Any]:
    """The records of a zip, one file each, as OSV publishes an ecosystem."""
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".json")]
        if sum(entry.file_size for entry in entries) > MAX_FEED_BYTES or len(entries) > MAX_RECORDS:
            raise build_feed_error(path, Message("it unpacks to more than {most} bytes", most=MAX_FEED_BYTES))
        for entry in entries:
            if entry.file_size > MAX_RECORD_BYTES:
                raise build_feed_error(path, Message("{name} is too large", name=entry.filename[:100]))
            try:
                yield json.loads(archive.read(entry))
            except (ValueError, RecursionError, zipfile.BadZipFile) as failure:
                why = Message("{name} is no JSON ({fault})", name=entry.filename[:100], fault=str(failure)[:200])
                raise build_feed_error(path, why) from None


def build_advisories(entry: Mapping[str, Any], path: Path) -> Iterator[Advisory]:
    """A row for each package of PyPI that the record names; none for one that was withdrawn. Raises Invalid."""
    if entry.get("withdrawn"):
        return
    try:
        advisory_id = str(entry["id"])[:100]
        merged: dict[str, dict[str, Any]] = {}
        for affected in entry.get("affected", []):
            package = affected.get("package", {})
            if package.get("ecosystem") != ECOSYSTEM:
                continue
            target = merged.setdefault(str(canonicalize_name(package["name"])), {"versions": [], "ranges": []})
            target["versions"] += [str(text) for text in affected.get("versions", []) if is_version(text)]
            target["ranges"] += [
                [{str(kind): str(at) for kind, at in event.items()} for event in each["events"]]
                for each in affected.get("ranges", [])
                if each.get("type") == "ECOSYSTEM"
            ]
        for name, ranges in merged.items():
            yield Advisory(
                advisory_id=advisory_id,
                package_name=name[:200],
                summary=" ".join(str(entry.get("summary") or entry.get("details") or "").split())[:500],
                severity=get_severity(entry),
                aliases=[str(alias)[:100] for alias in entry.get("aliases", [])][:20],
                affected=ranges,
                modified_at=parse_moment(entry.get("modified")),
            )
    except (KeyError, TypeError, AttributeError) as failure:
        number = str(entry.get("id"))[:60]
        why = Message("{number} is not as the OSV schema has it ({fault})", number=number, fault=repr(failure)[:200])
        raise build_feed_error(path, why) from None


def get_severity(entry: Mapping[str, Any]) -> str:
    """The word of the database, else the vector of the newest CVSS."""
    word = (entry.get("database_specific") or {}).get("severity")
    if isinstance(word, str):
        return word.lower()[:100]
    scores = [str(each.get("score", "")) for each in entry.get("severity") or []]
    return scores[-1][:100] if scores else ""


def parse_moment(text: Any) -> datetime | None:
    moment = parse_datetime(text) if isinstance(text, str) else None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def is_version(text: Any) -> bool:
    try:
        Version(text)
    except (InvalidVersion, TypeError):
        return False
    return True


def build_feed_error(path: Path, why: Message) -> Invalid:
    return Invalid(
        "{path} is no feed of advisories: {why}.",
        path=str(path),
        why=why,
        code="advisory_feed_invalid",
        field="file",
        hint=N_("Take a file of the OSV schema: a record, a list of them, or PyPI's all.zip of osv.dev."),
    )
