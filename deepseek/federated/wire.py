"""What travels between a site and the server: a JSON header and bytes; weights are safetensors, never a pickle."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deepseek.federated.errors import FederationError
from deepseek.federated.ledger_verifier import encode_canonical
from deepseek.federated.network import Weights
from deepseek.messages import N_

MAX_HEADER_BYTES = 65_536
LENGTH = struct.Struct(">I")


def encode_message(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """The header's length, the header as canonical JSON, the body."""
    head = encode_canonical(header)
    return LENGTH.pack(len(head)) + head + body


def decode_message(data: bytes, *, max_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Header and body. Raises FederationError ``message_malformed``."""
    if len(data) > max_bytes + MAX_HEADER_BYTES + LENGTH.size:
        raise build_malformed_error(f"{len(data)} bytes", f"{max_bytes} bytes")
    if len(data) < LENGTH.size:
        raise build_malformed_error(f"{len(data)} bytes", "a header")
    size = LENGTH.unpack_from(data)[0]
    if size > MAX_HEADER_BYTES or LENGTH.size + size > len(data):
        raise build_malformed_error(f"a header of {size} bytes", f"{MAX_HEADER_BYTES} bytes")
    return parse_object(data[LENGTH.size : LENGTH.size + size]), data[LENGTH.size + size :]


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object of a payload. Raises FederationError ``message_malformed``."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise build_malformed_error("other bytes", "a JSON object")
    return value


def encode_weights(weights: Weights, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the same bytes for the same weights."""
    return save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}, dict(metadata))


def decode_weights(data: bytes, expected: Weights) -> Weights:
    """The weights of a safetensors file. Raises FederationError ``update_foreign`` unless they are those of `expected`
    by name, shape and type, and ``message_malformed`` for other bytes."""
    try:
        weights = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise build_malformed_error("other bytes", "safetensors") from None
    shapes = {name: (value.shape, value.dtype) for name, value in weights.items()}
    wanted = {name: (value.shape, value.dtype) for name, value in expected.items()}
    if shapes != wanted:
        names = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        raise FederationError(
            "update_foreign",
            N_("The weights are of another model: {name} differs."),
            field="weights",
            value=str(shapes.get(names[0])),
            limit=str(wanted.get(names[0])),
            hint=N_("Bring the site's code to the study's digest."),
            name=names[0][:100],
        )
    return weights


def compute_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_malformed_error(value: str, limit: str) -> FederationError:
    return FederationError(
        "message_malformed",
        N_("The message cannot be read."),
        field="message",
        value=value,
        limit=limit,
        hint=N_("The other side runs another version, or is not what it claims to be."),
    )
