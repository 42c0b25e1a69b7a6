"""The egress ledger of a site: every message is recorded, signed and on disk before it leaves, or is refused.

A file of JSON lines that only grows, held by one process at a time. What its bounds refuse is recorded too, as a
refusal: those bytes do not leave.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from deepseek.federated.errors import FederationError
from deepseek.federated.ledger_verifier import (
    FIRST,
    LedgerFault,
    compute_entry_digest,
    encode_canonical,
    encode_signed_part,
    parse_lines,
    verify_chain,
)
from deepseek.federated.spec import EgressRule, EntryKind, LedgerEntry
from deepseek.messages import N_
from deepseek.signing.documents import encode_base64
from deepseek.signing.keys import Signer, encode_public_key

MAX_LEDGER_BYTES = 64 * 2**20
MAX_OTHER_BYTES = 65_536
"""Of a message that carries no weights: to join, or the metrics of a site."""


class EgressLedger:
    """The open ledger of one site in one study."""

    def __init__(self, file: BinaryIO, entries: list[LedgerEntry], *, study: str, site: str, signer: Signer) -> None:
        self._file, self._signer = file, signer
        self.entries = entries
        self.study, self.site = study, site
        self._previous = compute_digest_of(entries[-1]) if entries else FIRST

    @classmethod
    def open(cls, path: Path, *, study: str, site: str, signer: Signer) -> Self:
        """Open the ledger, or begin it, and verify all of it.

        A last line without its end was being written when the process died: nothing of it has left, and it is cut off.
        Raises FederationError ``ledger_in_use`` while another process holds it, ``ledger_broken`` where it does not
        verify, or is another site's.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not path.exists()
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "rb+", buffering=0)
        try:
            lock(file, path)
            data = file.read(MAX_LEDGER_BYTES + 1)
            complete = data[: data.rfind(b"\n") + 1]
            key = encode_public_key(signer.public_key)
            entries = read_ledger(complete, study=study, site=site, public_key=key)
            if len(complete) < len(data):
                file.truncate(len(complete))
                os.fsync(file.fileno())
            if is_new:
                sync_folder(path.parent)
        except BaseException:
            file.close()
            raise
        return cls(file, entries, study=study, site=site, signer=signer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def record(
        self,
        payload: bytes,
        *,
        kind: EntryKind,
        round: int,
        rule: EgressRule,
        norm: float | None = None,
        max_abs: float | None = None,
        epsilon: float | None = None,
    ) -> LedgerEntry:
        """Record a message that is about to leave; once this returns, the entry is on the disk.

        The same bytes of the same round may be sent again: that is one entry. Raises FederationError
        ``egress_...`` for what is over the rule, after recording the refusal; nothing may leave then. Figures leave
        once in a study: of many, over weights of its choice, the coordinator could compute the held-out rows.
        """
        digest = hashlib.sha256(payload).hexdigest()
        for entry in self.entries:
            if (entry.kind, entry.round, entry.digest) == (kind, round, digest):
                return entry
        refusal = self._find_refusal(kind, round, len(payload), rule, norm, max_abs)
        if refusal is None:
            return self._append(kind, round, digest, len(payload), norm, max_abs, epsilon)
        self._append("refused", round, digest, len(payload), norm, max_abs, epsilon, reason=refusal.code)
        raise refusal

    def record_refusal(self, payload: bytes, *, round: int, reason: str, epsilon: float | None = None) -> LedgerEntry:
        """Record that a message did not leave, for a reason beyond the egress rule; returns the entry."""
        digest = hashlib.sha256(payload).hexdigest()
        return self._append("refused", round, digest, len(payload), None, None, epsilon, reason=reason)

    def _find_refusal(
        self, kind: EntryKind, round: int, size: int, rule: EgressRule, norm: float | None, max_abs: float | None
    ) -> FederationError | None:
        """Why the message may not leave, or None."""
        if kind != "update":
            if kind == "evaluation" and any(entry.kind == kind for entry in self.entries):
                message = N_("Figures of this study have left already.")
                return build_refusal("egress_repeated", message, f"round {round}", "one evaluation a study")
            return find_refusal_of_other(kind, size, rule)
        bound = f"{rule.max_bytes_per_update} bytes"
        if size > rule.max_bytes_per_update:
            return build_refusal("egress_bytes", N_("The update is too large to leave."), f"{size} bytes", bound)
        if norm is None or max_abs is None or not (math.isfinite(norm) and math.isfinite(max_abs)):
            message = N_("The update holds values that are no numbers.")
            return build_refusal("egress_not_finite", message, "NaN or infinity", "finite")
        if norm > rule.max_norm:
            message = N_("The update changes the weights too much to leave.")
            return build_refusal("egress_norm", message, f"{norm:.6g}", f"{rule.max_norm:g}")
        rounds = [entry.round for entry in self.entries if entry.kind == "update"]
        if round in rounds:
            message = N_("Another update of this round has left already.")
            return build_refusal("egress_repeated", message, f"round {round}", "one a round")
        if len(rounds) >= rule.max_updates:
            message = N_("As many updates as may leave have left.")
            return build_refusal("egress_count", message, str(len(rounds)), str(rule.max_updates))
        return None

    def _append(
        self,
        kind: EntryKind,
        round: int,
        digest: str,
        size: int,
        norm: float | None,
        max_abs: float | None,
        epsilon: float | None,
        *,
        reason: str = "",
    ) -> LedgerEntry:
        fields = {
            "study": self.study,
            "site": self.site,
            "round": round,
            "kind": kind,
            "digest": digest,
            "bytes": size,
            "norm": keep_finite(norm),
            "max_abs": keep_finite(max_abs),
            "epsilon": keep_finite(epsilon),
            "reason": reason,
            "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "previous": self._previous,
            "public_key": encode_public_key(self._signer.public_key),
        }
        fields["signature"] = encode_base64(self._signer.sign(encode_signed_part(fields)))
        entry = LedgerEntry.model_validate(fields)
        line = encode_canonical(entry.model_dump()) + b"\n"
        self._require_room(len(line))
        self._write(line)
        self.entries.append(entry)
        self._previous = compute_digest_of(entry)
        return entry

    def _require_room(self, size: int) -> None:
        """Raise FederationError ``ledger_full`` where the line would make the ledger larger than one may be: it could
        not be opened, nor verified, any more."""
        if os.fstat(self._file.fileno()).st_size + size <= MAX_LEDGER_BYTES:
            return
        raise FederationError(
            "ledger_full",
            N_("The egress ledger has {count} entries, and there is no room for another one."),
            field="ledger",
            limit=f"{MAX_LEDGER_BYTES} bytes",
            hint=N_(
                "Nothing has left. Leave the study, and have the compliance officer look at what fills the ledger."
            ),
            count=len(self.entries),
        )

    def _write(self, line: bytes) -> None:
        """Append the line durably, or not at all: half of one would be taken for the trace of a killed process."""
        size = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[os.write(self._file.fileno(), line) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)
            raise


def read_ledger(
    data: bytes, *, study: str | None = None, site: str | None = None, public_key: str | None = None
) -> list[LedgerEntry]:
    """The entries of a ledger's bytes, verified. Raises FederationError ``ledger_broken``, which names the line."""
    if len(data) > MAX_LEDGER_BYTES:
        raise build_fault(0, "it is too large", f"{MAX_LEDGER_BYTES} bytes")
    try:
        entries = [LedgerEntry.model_validate(entry) for entry in parse_lines(data)]
    except LedgerFault as fault:
        raise build_fault(fault.line, fault.why, "one JSON object a line") from None
    except ValidationError as error:
        problem = error.errors()[0]
        raise build_fault(0, f"{'/'.join(map(str, problem['loc']))}: {problem['msg']}", "a ledger entry") from None
    verify_entries(entries, public_key=public_key)
    for line, entry in enumerate(entries, 1):
        if (study or entry.study, site or entry.site) != (entry.study, entry.site):
            raise build_fault(line, "it belongs to another study or site", f"{site} in {study}")
    return entries


def verify_entries(entries: Sequence[LedgerEntry], *, public_key: str | None = None) -> None:
    """Check the signatures and the chain from the first entry on. Raises FederationError ``ledger_broken``.

    `public_key`: base64 of the site's key; without it the first entry names the key.
    """
    try:
        verify_chain([entry.model_dump() for entry in entries], public_key=public_key)
    except LedgerFault as fault:
        raise build_fault(fault.line, fault.why, "a chain of entries that the site's key has signed") from None


def compute_digest_of(entry: LedgerEntry) -> str:
    """The digest that names an entry: `previous` of the next one."""
    return compute_entry_digest(entry.model_dump())


def find_refusal_of_other(kind: EntryKind, size: int, rule: EgressRule) -> FederationError | None:
    """Why a message that carries no weights may not leave, or None."""
    if kind == "evaluation" and not rule.metrics:
        return build_refusal("egress_metrics", N_("The egress rule lets no metrics leave."), "metrics", "no metrics")
    if size > MAX_OTHER_BYTES:
        message, bound = N_("The message is too large to leave."), f"{MAX_OTHER_BYTES} bytes"
        return build_refusal("egress_bytes", message, f"{size} bytes", bound)
    return None


def build_refusal(code: str, msgid: str, value: str, limit: str) -> FederationError:
    return FederationError(
        code,
        msgid,
        field="/study/egress",
        value=value,
        limit=limit,
        hint=N_("Nothing has left. Change the study's egress rule, or what the site trains, and approve it again."),
    )


def build_fault(line: int, why: str, limit: str) -> FederationError:
    return FederationError(
        "ledger_broken",
        N_("The egress ledger does not verify at line {line}: {why}."),
        field="ledger",
        limit=limit,
        hint=N_("Keep the file as it is, and have the compliance officer look into it; nothing leaves until then."),
        line=line,
        why=why,
    )


def lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FederationError(
            "ledger_in_use",
            N_("Another process holds the egress ledger {name}."),
            field="ledger",
            limit="one process",
            hint=N_("Wait until it has ended: one site takes part in a study once."),
            name=path.name,
        ) from None


def keep_finite(value: float | None) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(value) if value is not None and math.isfinite(value) else None


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
