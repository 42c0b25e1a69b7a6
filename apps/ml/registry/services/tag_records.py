"""What an audit record says of tags: the beginning of each value, and digests of what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping

from apps.core.canonical import compute_digest, sha256_hex
from apps.ml.experiments.services.annotations import MAX_RECORDED_CHARACTERS


def build_recorded_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags with the beginning of their values: one may have 100,000 characters."""
    return {key: value[:MAX_RECORDED_CHARACTERS] for key, value in tags.items()}


def build_tag_digests(before: Mapping[str, str], after: str | None) -> dict[str, str]:
    """`value`: of the new value, as a tag of a run has it; `before`: of one that is replaced or removed, where the
    record does not hold all of it."""
    digests = {} if after is None else {"value": sha256_hex(after)}
    for value in before.values():
        if len(value) > MAX_RECORDED_CHARACTERS:
            digests["before"] = sha256_hex(value)
    return digests


def build_initial_tag_digests(tags: Mapping[str, str]) -> dict[str, str]:
    """Of all tags that come with a new model or version; {} without any."""
    return {"tags": compute_digest(dict(tags))} if tags else {}
