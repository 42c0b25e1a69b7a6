"""Every write of the package index."""

from apps.site.mirror.services.advisories import import_advisories
from apps.site.mirror.services.images import import_image
from apps.site.mirror.services.imports import ImportReport, import_folder
from apps.site.mirror.services.uploads import Publication, publish_distribution
from apps.site.mirror.services.yanks import unyank_version, yank_version

__all__ = [
    "ImportReport",
    "Publication",
    "import_advisories",
    "import_folder",
    "import_image",
    "publish_distribution",
    "unyank_version",
    "yank_version",
]
