"""Read a policy from a file, TOML or JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deepseek.flags import convert_errors
from deepseek.isolation.spec import Policy, merge_policies
from deepseek.job import EngineError
from deepseek.messages import N_

MAX_BYTES = 64 * 1024


def read_policy(path: Path | None, *, networks: list[str] | None = None, names: list[str] | None = None) -> Policy:
    """The policy of the file, with further networks and names. Raises EngineError for the first fault."""
    try:
        policy = Policy.model_validate(read_document(path) if path else {})
        return merge_policies(policy, networks=networks or [], names=names or [])
    except ValidationError as error:
        raise convert_errors(error)[0] from error


def read_document(path: Path) -> Any:
    """What the file holds. Raises EngineError ``policy_unreadable`` or ``policy_too_large``."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise EngineError(
                "policy_too_large",
                N_("The policy {path} has {size} bytes."),
                path=str(path),
                size=size,
                field="POLICY",
                value=str(path),
                limit=f"{MAX_BYTES} bytes",
                hint=N_("Name networks instead of single addresses."),
            )
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" or text.lstrip().startswith("{") else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(
            "policy_unreadable",
            N_("Cannot read the policy {path}: {reason}."),
            path=str(path),
            reason=getattr(error, "strerror", None) or str(error)[:200],
            field="POLICY",
            value=str(path),
            limit="a TOML or JSON file",
        ) from error
