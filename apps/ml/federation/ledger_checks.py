"""Whether a site's egress ledger is complete and unchanged, and the ledger as a file that verifies elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.ml.federation.models import SiteStudy
from deepseek.federated.ledger_verifier import FIRST, LedgerFault, encode_canonical, verify_chain

MAX_ENTRIES = 20_000  # of one ledger; a study of 1,000 rounds has some 2,000


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """The verdict on one ledger. `fault`: a code of LedgerFault at `line`; "" where it verifies."""

    entries: int
    fault: str = ""
    line: int = 0

    @property
    def is_verified(self) -> bool:
        return not self.fault


def check_ledger(site_study: SiteStudy) -> LedgerCheck:
    """Verify every signature and link, with the key that was made when the study was imported."""
    documents = list_chain(site_study)
    try:
        verify_chain(documents, public_key=site_study.public_key)
    except LedgerFault as fault:
        return LedgerCheck(len(documents), fault.code, fault.line)
    return LedgerCheck(len(documents))


def list_chain(site_study: SiteStudy) -> list[Mapping[str, Any]]:
    """The lines in the order of their links, whichever was reported first; what no link reaches comes last."""
    rows = list(site_study.ledger.order_by("id").values_list("entry_digest", "previous", "document")[:MAX_ENTRIES])
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
