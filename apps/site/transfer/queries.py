"""Reads of bundles and signers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.data.datasets.models import Dataset
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Holding
from apps.site.mirror.models import ContainerImage, ImageLayer, Package, PackageFile
from apps.site.transfer.models import BundleSigner, IncomingBundle, OutgoingBundle
from apps.site.transfer.states import IncomingState, OutgoingState, SignerState
from deepseek.bundles.signatures import TrustedSigner
from deepseek.signing.keys import decode_public_key

M = TypeVar("M", bound=Model)
WAITING = (IncomingState.CHECKING, IncomingState.APPROVED)  # for a worker
NOT_EXPIRED = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
IS_DUE = Q(retry_at__isnull=True) | Q(retry_at__lte=Now())


def list_outgoing(actor: Actor, project: Project) -> QuerySet[OutgoingBundle]:
    """Without those that carry data whose label came later and is above the actor's clearance."""
    policy.require(actor, "bundle.view", project)
    rows = OutgoingBundle.objects.visible_to(actor).filter(project=project)
    if actor.is_cleared_for_all:
        return rows
    labelled = Dataset.objects.filter(project=project, security_label__gt=actor.clearance)
    starts = tuple(f"data/{name}:" for name in labelled.values_list("name", flat=True))
    if not starts:
        return rows
    contents = rows.values_list("pk", "contents").iterator()
    return rows.exclude(pk__in=[pk for pk, names in contents if any(name.startswith(starts) for name in names)])


def list_incoming(actor: Actor, project: Project) -> QuerySet[IncomingBundle]:
    policy.require(actor, "bundle.view", project)
    return IncomingBundle.objects.visible_to(actor).filter(project=project)


def list_signers(actor: Actor, project: Project) -> QuerySet[BundleSigner]:
    policy.require(actor, "bundle.view", project)
    return BundleSigner.objects.visible_to(actor).filter(project=project)


def get_outgoing(actor: Actor, project: Project, pk: int) -> OutgoingBundle:
    return get_row(list_outgoing(actor, project).select_related("project"), pk)


def get_incoming(actor: Actor, project: Project, pk: int) -> IncomingBundle:
    return get_row(list_incoming(actor, project).select_related("project"), pk)


def get_signer(actor: Actor, project: Project, pk: int) -> BundleSigner:
    return get_row(list_signers(actor, project), pk)


def get_row(rows: QuerySet[M], pk: int) -> M:
    row = rows.filter(pk=pk).first()
    if row is None:
        raise NotFound("There is no such object, or you may not see it.")
    return row


def list_due_outgoing(actor: Actor) -> QuerySet[OutgoingBundle]:
    """Bundles that a worker may build now, oldest first."""
    policy.require(actor, "bundle.drive")
    return OutgoingBundle.objects.filter(IS_DUE, state=OutgoingState.QUEUED).order_by("pk")


def list_due_incoming(actor: Actor) -> QuerySet[IncomingBundle]:
    """Bundles that a worker may check or load now, oldest first."""
    policy.require(actor, "bundle.drive")
    return IncomingBundle.objects.filter(IS_DUE, state__in=WAITING).order_by("pk")


def has_due_bundle(actor: Actor) -> bool:
    return list_due_incoming(actor).exists() or list_due_outgoing(actor).exists()


def count_ahead(bundle: OutgoingBundle | IncomingBundle) -> int:
    """How many bundles of the plane a worker takes before this one: a number alone, whatever project they are of."""
    outgoing = OutgoingBundle.objects.filter(IS_DUE, state=OutgoingState.QUEUED)
    if isinstance(bundle, OutgoingBundle):
        return outgoing.filter(pk__lt=bundle.pk).count()
    incoming = IncomingBundle.objects.filter(IS_DUE, state__in=WAITING, pk__lt=bundle.pk)
    return outgoing.count() + incoming.count()


def list_inventory_digests(actor: Actor, project: Project) -> list[str]:
    """Digests of all bytes that the project holds and the actor may see, and of the mirror's: what a bundle for it need
    not carry."""
    policy.require(actor, "bundle.export_inventory", project)
    holdings = Holding.objects.readable_by(actor).filter(project=project, artifact__damaged_at=None)
    return sorted({*holdings.values_list("artifact_id", flat=True).iterator(), *list_mirror_digests(actor)})


def list_mirror_digests(actor: Actor) -> set[str]:
    """Digests of the packages and images that the actor may see, whatever project asks."""
    files = PackageFile.objects.filter(version__package__in=Package.objects.visible_to(actor))
    images = ContainerImage.objects.visible_to(actor)
    digests = {*files.values_list("artifact_id", flat=True).iterator()}
    digests |= {*images.values_list("config_id", flat=True)}
    return digests | {*ImageLayer.objects.filter(image__in=images).values_list("artifact_id", flat=True)}


def list_trusted_signers(project_id: int, source_id: str) -> dict[str, TrustedSigner]:
    """The keys that count for bundles of a source, by key id."""
    rows = BundleSigner.objects.filter(NOT_EXPIRED, project=project_id, source_id=source_id, state=SignerState.TRUSTED)
    return {row.key_id: TrustedSigner(row.person, decode_public_key(row.public_key)) for row in rows}


def find_lapsed_signer(project_id: int, source_id: str, key_ids: Sequence[str]) -> BundleSigner | None:
    """The newest row of one of these keys that was trusted once and is not any more; None where there is none."""
    rows = BundleSigner.objects.filter(project=project_id, source_id=source_id, key_id__in=key_ids)
    trusted = rows.filter(NOT_EXPIRED, state=SignerState.TRUSTED).values("key_id")
    lapsed = rows.exclude(state=SignerState.PROPOSED).exclude(key_id__in=trusted)
    return lapsed.order_by("-pk").first()
