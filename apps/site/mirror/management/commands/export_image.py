"""manage.py export_image NAME:TAG FILE: an image as a file for `docker load`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.errors import PlaneError
from apps.site.mirror.images.export import export_image
from apps.site.mirror.images.references import parse_reference
from apps.site.mirror.models import ImageTag


class Command(BaseCommand):
    help = "Write an image to a tar that docker load, podman load and skopeo read (docs/container-images.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME:TAG")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            repository, name = parse_reference(options["name"])
            tag = ImageTag.objects.select_related("image").filter(repository=repository, tag=name).first()
            if tag is None:
                raise CommandError(f"There is no image {options['name']}: see /images.", returncode=2)
            part = options["file"].with_name(f"{options['file'].name}.part")
            try:
                with part.open("xb") as file:
                    file.writelines(export_image(tag.image))
                part.replace(options["file"])
            finally:
                part.unlink(missing_ok=True)
        except (PlaneError, OSError) as error:
            raise CommandError(str(error), returncode=2) from None
        self.stdout.write(f"{options['file']}: {tag} sha256:{tag.image.manifest_digest}")
