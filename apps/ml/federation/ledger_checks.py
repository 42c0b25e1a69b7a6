"""Whether a site's egress ledger is complete and unchanged, and the ledger as a file that verifies elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext_lazy

from apps.ml.federation.models import LedgerEntry, SiteStudy
from deepseek.federated.ledger_verifier import FIRST, LedgerFault, encode_canonical, verify_chain

Line = tuple[str, str, Mapping[str, Any]]
"""(digest, previous, document)"""
MAX_LINES = 5_000  # that one page verifies: each takes a tenth of a millisecond. A study of 1,000 rounds has 1,002

FAULT_LABELS = {
    "chain_broken": gettext_lazy("an entry before it is missing, changed or out of order"),
    "chain_mixed": gettext_lazy("it belongs to another study or site"),
    "signature_wrong": gettext_lazy("it is not signed by the site's key, or was changed"),
}


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """The verdict on one ledger. `fault`: a code of LedgerFault at `line`; "" where it verifies."""

    entries: int
    fault: str = ""
    line: int = 0
    is_checked: bool = True

    @property
    def is_verified(self) -> bool:
        return self.is_checked and not self.fault

    @property
    def reason(self) -> str:
        """The fault in the reader's language."""
        return str(FAULT_LABELS.get(self.fault, self.fault))


def check_ledger(site_study: SiteStudy) -> LedgerCheck:
    """Verify every signature and link, with the key that was made when the study was imported."""
    return check_ledgers([site_study])[0]


def check_ledgers(site_studies: Sequence[SiteStudy]) -> list[LedgerCheck]:
    """The verdict on each, in two queries. After MAX_LINES lines the rest is left unverified, but for the first."""
    entries = LedgerEntry.objects.filter(site_study__in=site_studies)
    counts = dict(entries.order_by().values_list("site_study").annotate(lines=Count("pk")))
    total, small = 0, []
    for place, row in enumerate(site_studies):
        total += counts.get(row.pk, 0)
        if total <= MAX_LINES or place == 0:
            small.append(row.pk)
    rows: dict[int, list[Line]] = {pk: [] for pk in small}
    columns = ("site_study", "entry_digest", "previous", "document")
    for pk, digest, previous, document in entries.filter(site_study__in=small).order_by("id").values_list(*columns):
        rows[pk].append((digest, previous, document))
    return [
        verify_lines(order_lines(rows[row.pk]), row.public_key)
        if row.pk in rows
        else LedgerCheck(counts.get(row.pk, 0), is_checked=False)
        for row in site_studies
    ]


def verify_lines(documents: Sequence[Mapping[str, Any]], public_key: str) -> LedgerCheck:
    try:
        verify_chain(documents, public_key=public_key)
    except LedgerFault as fault:
        return LedgerCheck(len(documents), fault.code, fault.line)
    return LedgerCheck(len(documents))


def list_chain(site_study: SiteStudy) -> list[Mapping[str, Any]]:
    """The lines of one ledger in the order of their links."""
    rows = site_study.ledger.order_by("id").values_list("entry_digest", "previous", "document")
    return order_lines(list(rows))


def order_lines(rows: Sequence[Line]) -> list[Mapping[str, Any]]:
    """The lines in the order of their links, whichever was reported first; what no link reaches comes last."""
    followers: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for digest, previous, document in rows:
        followers.setdefault(previous, (digest, document))
    chain: list[Mapping[str, Any]] = []
    linked: set[str] = set()
    at = FIRST
    while at in followers and at not in linked:
        linked.add(at)
        at, document = followers[at]
        chain.append(document)
    reached = {followers[previous][0] for previous in linked}
    return [*chain, *(document for digest, _previous, document in rows if digest not in reached)]


def iter_ledger_lines(site_study: SiteStudy) -> Iterator[bytes]:
    """The file: a line for each entry, as the site's process wrote it."""
    for document in list_chain(site_study):
        yield encode_canonical(document) + b"\n"
