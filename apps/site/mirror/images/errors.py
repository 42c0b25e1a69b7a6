"""Refusals of images."""

from __future__ import annotations

from apps.core.errors import Invalid
from deepseek.messages import N_, Message


def build_image_error(name: str, why: Message) -> Invalid:
    return Invalid(
        "{name} is no image that can be imported: {why}.",
        name=name[:100],
        why=why,
        code="image_invalid",
        field="file",
        hint=N_("Make it by docker save NAME:TAG, or skopeo copy ... oci-archive:FILE."),
    )


def build_tampering_error(name: str, part: str) -> Invalid:
    return Invalid(
        "{name}: {part} has another digest than the image says.",
        name=name[:100],
        part=part[:150],
        code="image_tampered",
        field="file",
        hint=N_("It was changed or cut off on its way. Nothing was imported; save it again."),
    )


def build_unsafe_error(name: str, member: str) -> Invalid:
    return Invalid(
        "{name} holds {member!r}, which leads out of the archive, comes twice, or is a device.",
        name=name[:100],
        member=member[:100],
        code="unsafe_archive",
        field="file",
        hint=N_("Do not load it. Ask where it comes from."),
    )


def build_size_error(name: str, size: str, limit: str) -> Invalid:
    return Invalid(
        "{name} unpacks to {size}.",
        name=name[:100],
        size=size,
        code="archive_bomb",
        field="file",
        limit=limit,
        hint=N_("Do not load it. Ask where it comes from."),
    )
