"""What the server checks of a site's message before anything of it counts."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from deepseek.federated.errors import FederationError
from deepseek.federated.ledger_verifier import is_signed
from deepseek.federated.network import Weights, measure_change
from deepseek.federated.spec import STRICT, EntryKind, FederationSite, LedgerEntry, StudySpec
from deepseek.federated.wire import compute_digest, decode_message, decode_weights
from deepseek.messages import N_

NORM_TOLERANCE = 1e-3
MAX_WEIGHT_ROWS = 10_000_000
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Update:
    """A site's update that may be aggregated. `rows`: how much it weighs in a mean."""

    site: str
    round: int
    digest: str
    weights: Weights
    rows: float
    norm: float
    epsilon: float | None


@dataclass(frozen=True)
class RoundTerms:
    """What the updates of one round have to be."""

    study: StudySpec
    study_digest: str
    round: int
    base: Weights
    base_digest: str


def open_message(
    data: bytes, site: FederationSite, *, study: StudySpec, study_digest: str, kind: EntryKind
) -> tuple[LedgerEntry, bytes]:
    """The ledger entry of a message and its payload, once the entry is of this site, signed, and over this payload.

    Raises FederationError ``message_malformed``, ``message_unsigned`` or ``study_mismatch``.
    """
    header, payload = decode_message(data, max_bytes=study.update_bytes)
    try:
        entry = LedgerEntry.model_validate(header.get("entry"))
    except ValidationError:
        raise build_refusal("message_malformed", N_("The message has no ledger entry."), "", "a ledger entry") from None
    if entry.study != study_digest:
        message = N_("The message is of another study.")
        raise build_refusal("study_mismatch", message, entry.study[:12], study_digest[:12])
    is_ours = (entry.site, entry.public_key, entry.kind) == (site.name, site.public_key, kind)
    if not is_ours or not is_signed(entry.model_dump()):
        message = N_("The message is not signed by the site that sent it.")
        raise build_refusal("message_unsigned", message, f"{entry.site}, {entry.kind}", f"{site.name}, {kind}")
    if (entry.digest, entry.bytes) != (compute_digest(payload), len(payload)):
        message = N_("The message is not the one that its ledger entry names.")
        raise build_refusal("message_unsigned", message, f"{len(payload)} bytes", f"{entry.bytes} bytes")
    return entry, payload


def inspect_update(entry: LedgerEntry, payload: bytes, terms: RoundTerms) -> Update:
    """The update, once it is of this round and model, finite, and within the study's bounds.

    Raises FederationError ``update_replayed``, ``update_foreign``, ``update_not_finite``, ``update_poisoned``,
    ``update_not_private`` or ``message_malformed``.
    """
    metadata = read_payload_metadata(payload)
    named = (metadata.get("study"), metadata.get("site"), metadata.get("round"), metadata.get("base"))
    if (entry.round, *named) != (terms.round, terms.study_digest, entry.site, str(terms.round), terms.base_digest):
        message = N_("The update is of another round, or was trained from other weights.")
        raise build_refusal("update_replayed", message, f"round {entry.round}", f"round {terms.round}")
    weights = decode_weights(payload, terms.base)
    norm, _ = measure_change(weights, terms.base)
    if not math.isfinite(norm):
        message = N_("The update holds values that are no numbers.")
        raise build_refusal("update_not_finite", message, "NaN or infinity", "finite")
    if norm > terms.study.egress.max_norm * (1 + NORM_TOLERANCE):
        message = N_("The update changes the weights more than the study allows.")
        raise build_refusal("update_poisoned", message, f"{norm:.6g}", f"{terms.study.egress.max_norm:g}")
    privacy = terms.study.privacy
    if privacy is not None and (entry.epsilon is None or not 0 < entry.epsilon <= privacy.epsilon * (1 + 1e-6)):
        message = N_("The update does not show that it is within the privacy budget.")
        raise build_refusal("update_not_private", message, str(entry.epsilon), f"{privacy.epsilon:g}")
    rows = 1.0 if privacy is not None else parse_rows(metadata.get("rows"))
    return Update(entry.site, entry.round, entry.digest, weights, rows, norm, entry.epsilon)


class AucFigures(BaseModel):
    """The figures of one model as a site sends them (deepseek/federated/metrics.py)."""

    model_config = STRICT

    value: Share | None
    low: Share | None
    high: Share | None
    positives: int = Field(ge=0, le=MAX_WEIGHT_ROWS)
    negatives: int = Field(ge=0, le=MAX_WEIGHT_ROWS)


class Evaluation(BaseModel):
    """What a site has measured on its held-out rows."""

    model_config = STRICT

    federated: AucFigures
    local: AucFigures | None


def parse_evaluation(payload: bytes) -> dict[str, Any]:
    """The figures of a site, and nothing else that it may have sent. Raises FederationError ``message_malformed``."""
    try:
        return Evaluation.model_validate_json(payload).model_dump()
    except ValidationError:
        message = N_("The figures of the site cannot be read.")
        raise build_refusal("message_malformed", message, f"{len(payload)} bytes", "AUC with intervals") from None


def read_payload_metadata(payload: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file in memory, without its weights."""
    try:
        size = struct.unpack_from("<Q", payload)[0]
        if size > len(payload):
            raise ValueError
        header = json.loads(payload[8 : 8 + size].decode("utf-8"))
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    except (ValueError, struct.error, RecursionError):
        message = N_("The update cannot be read.")
        raise build_refusal("message_malformed", message, f"{len(payload)} bytes", "safetensors") from None
    return metadata if isinstance(metadata, dict) else {}


def parse_rows(text: object) -> float:
    """The weight that a site claims. Raises FederationError ``message_malformed``."""
    if isinstance(text, str) and text.isascii() and text.isdigit() and 0 < int(text[:12]) <= MAX_WEIGHT_ROWS:
        return float(text)
    message = N_("The update claims no number of rows.")
    raise build_refusal("message_malformed", message, str(text)[:40], f"1 to {MAX_WEIGHT_ROWS}")


def build_refusal(code: str, msgid: str, value: str, limit: str) -> FederationError:
    return FederationError(
        code,
        msgid,
        field="update",
        value=value,
        limit=limit,
        hint=N_("It does not count. Have the site's operator look at its log and its ledger."),
    )
