"""What the registry, the page and REST read of images."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.nodes.models import Node
from apps.site.mirror.models import ContainerImage, ImageTag
from deepseek.messages import N_


def list_tags(actor: Actor, *, q: str = "") -> QuerySet[ImageTag]:
    """The names that fit, with their images."""
    policy.require(actor, "image.view")
    rows = ImageTag.objects.select_related("image")
    return rows.filter(repository__contains=q.lower()) if q else rows


def get_image(actor: Actor, digest: str) -> ContainerImage:
    """The image of this manifest; NotFound."""
    policy.require(actor, "image.view")
    image = ContainerImage.objects.visible_to(actor).filter(manifest_digest=digest.removeprefix("sha256:")).first()
    if image is None:
        raise NotFound("There is no image {digest}.", digest=digest[:80], hint=N_("List the images."))
    return image


def list_node_uses(actor: Actor) -> dict[str, list[str]]:
    """Digest of a manifest or config -> the nodes that offer it to scripts, as they last reported. One query."""
    uses: dict[str, list[str]] = {}
    for name, hardware in Node.objects.visible_to(actor).order_by("name").values_list("name", "hardware"):
        for row in (hardware or {}).get("environments") or []:
            if row.get("kind") == "image" and row.get("digest"):
                uses.setdefault(str(row["digest"]).removeprefix("sha256:"), []).append(name)
    return uses


def list_users_of(image: ContainerImage, uses: dict[str, list[str]]) -> list[str]:
    """The nodes that use it, whichever of its two digests they name."""
    return sorted({*uses.get(image.manifest_digest, []), *uses.get(image.config_id, [])})
