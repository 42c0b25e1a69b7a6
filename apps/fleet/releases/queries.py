"""What REST, devices and rollouts read of releases and of the keys that sign them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import parse_int, validate_choice
from apps.fleet.releases.architectures import TORCHLESS
from apps.fleet.releases.models import KeyList, Release, ReleaseKey, ReleaseQuerySet
from apps.fleet.releases.states import ReleaseState
from apps.ml.registry.models import AliasMove, Variant
from apps.ml.registry.queries import get_version
from apps.ml.registry.states import MoveKind
from apps.platform.accounts.models import Project
from apps.platform.approvals.states import ApprovalState
from deepseek.messages import N_

FILTERS = ("model", "state", "architecture")
MAX_ID = 2**63 - 1
KEY_LISTS_PER_PAGE = 500
KEY_LISTS_BYTES = 1_000_000  # of a page; each list names all that was ever revoked, so a chain grows with the square


def list_releases(
    actor: Actor, project: Project, *, model: str = "", state: str = "", architecture: str = ""
) -> ReleaseQuerySet:
    """The releases of the project that fit, with their variants. Raises Invalid for a state that there is none of."""
    policy.require(actor, "release.view", project)
    validate_choice("state", state, ReleaseState.values)
    narrow = {"model_name": model, "state": state, "architecture": architecture}
    rows = Release.objects.visible_to(actor).filter(project=project)
    rows = rows.filter(**{field: value for field, value in narrow.items() if value})
    return rows.select_related("variant__version__model", "key", "approval").prefetch_related("files")


def get_release(actor: Actor, project: Project, pk: int) -> Release:
    """One release with its files; NotFound."""
    release = list_releases(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if release is None:
        raise NotFound("This project has no release {pk}.", pk=pk, field="release", hint=N_("List the releases."))
    return release


def get_variant(actor: Actor, project: Project, model: str, version: int, name: str) -> Variant:
    """A variant of a version that is not deleted, with what a release needs of it; NotFound. Without a name: the first
    that a device can serve without torch."""
    policy.require(actor, "model.view", project)
    rows = get_version(actor, project, model, str(version)).variants.order_by("pk")
    rows = rows.select_related("version__model__project", "artifact", "manifest")
    variant = rows.filter(name=name).first() if name else rows.filter(format__in=TORCHLESS).first()
    if variant is None:
        raise NotFound(
            "The version {version} of {model} has no variant {name!r}.",
            version=version,
            model=model[:60],
            name=name[:60] or "for devices",
            field="variant",
            hint=N_("Quantize it to ONNX, or compile it, and register both; or name one of its variants."),
        )
    return variant


def list_approved_variants(actor: Actor, project: Project) -> QuerySet[Variant]:
    """The variants of versions whose promotion was approved: what may be released, of the newest version first."""
    policy.require(actor, "release.view", project)
    moves = AliasMove.objects.filter(kind=MoveKind.PROMOTE, approval__state=ApprovalState.APPROVED)
    rows = Variant.objects.visible_to(actor).filter(
        version__model__project=project, version__in=moves.values("to_version")
    )
    return rows.select_related("version__model__project", "artifact", "manifest").order_by("-version_id", "pk")


def find_released_variant(actor: Actor, project: Project, text: str) -> Variant:
    """The variant of this id, of those that may be released. Raises Invalid."""
    number = parse_int(text, 1, MAX_ID)
    variant = list_approved_variants(actor, project).filter(pk=number).first() if number else None
    if variant is None:
        raise Invalid("Choose a variant of an approved version.", field="variant", limit="one of the list")
    return variant


def list_keys(actor: Actor) -> QuerySet[ReleaseKey]:
    """Every key that this plane ever had, oldest first."""
    policy.require(actor, "release_key.view")
    return ReleaseKey.objects.order_by("pk")


def get_key_lists(*, since: int = 0, is_paged: bool = False) -> dict[str, Any]:
    """``{"version", "lists"}`` as devices read it: the newest version, and the envelopes of every one above `since`.
    Version 0: no key yet. `is_paged`: the first of them, at least one, so that an answer stays small.

    Public: it holds public keys, and what was revoked.
    """
    rows = KeyList.objects.filter(version__gt=since).order_by("version").values_list("envelope", flat=True)
    newest = get_key_list_version()
    texts = take_page(rows[:KEY_LISTS_PER_PAGE].iterator(chunk_size=20)) if is_paged else rows
    return {"version": newest, "lists": [json.loads(text) for text in texts]}


def take_page(texts: Iterable[str]) -> Iterator[str]:
    """The first of the texts, until they have so many bytes: at least one."""
    size = 0
    for text in texts:
        size += len(text)
        if size > len(text) and size > KEY_LISTS_BYTES:
            return
        yield text


def get_key_list_version() -> int:
    """The newest version of the list of keys; 0 where there is none."""
    return KeyList.objects.order_by("-version").values_list("version", flat=True).first() or 0


def get_fingerprint() -> str:
    """What a person compares on a device that gets its first list in a folder; "" where there is no list."""
    return KeyList.objects.filter(version=1).values_list("digest", flat=True).first() or ""
