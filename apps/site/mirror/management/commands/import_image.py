"""manage.py import_image FILE: a container image that was carried in, every hash checked before it is offered."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.site.mirror import services


class Command(BaseCommand):
    help = "Import the image of a docker-archive or OCI archive, whole or not at all (docs/container-images.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="of docker save, or of skopeo copy ... oci-archive:FILE")
        parser.add_argument("--name", default="", metavar="NAME:TAG", help="in place of the names in the archive")
        parser.add_argument("--architecture", default="", help="amd64, arm64; this host's if left out")
        parser.add_argument("--move", action="store_true", help="let a name move that leads to another image")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        try:
            tags = services.import_image(
                actor=actor,
                path=options["file"],
                name=options["name"],
                architecture=options["architecture"],
                move_tag=options["move"],
            )
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip(), returncode=2) from None
        for tag in tags:
            self.stdout.write(f"{tag} sha256:{tag.image.manifest_digest} {tag.image.size / 1e6:,.1f} MB")
