"""Every write of artifacts: uploads and holdings, damage of stored bytes and its repair, and the quota of projects."""

from apps.platform.artifacts.queries import (
    Damaged,
    DamagedBytes,
    get_artifact,
    get_holding,
    is_marked_damaged,
    list_damaged_digests,
    require_undamaged,
)
from apps.platform.artifacts.services.damage import (
    ScrubReport,
    keep_chunk_digests,
    report_damage,
    request_chunk_digests,
    verify_stored_artifact,
    verify_stored_artifacts,
)
from apps.platform.artifacts.services.quota import OverQuota, get_free_quota, get_quota_bytes, require_room
from apps.platform.artifacts.services.uploads import (
    Published,
    adopt,
    adopt_for_plane,
    hold,
    publish_package_file,
    publish_tracked,
    publish_upload,
    require_clean,
    store_file,
    store_for_plane,
    sweep_staging,
)

__all__ = [
    "Damaged",
    "DamagedBytes",
    "OverQuota",
    "Published",
    "ScrubReport",
    "adopt",
    "adopt_for_plane",
    "get_artifact",
    "get_free_quota",
    "get_holding",
    "get_quota_bytes",
    "hold",
    "is_marked_damaged",
    "keep_chunk_digests",
    "list_damaged_digests",
    "publish_package_file",
    "publish_tracked",
    "publish_upload",
    "report_damage",
    "request_chunk_digests",
    "require_clean",
    "require_room",
    "require_undamaged",
    "store_file",
    "store_for_plane",
    "sweep_staging",
    "verify_stored_artifact",
    "verify_stored_artifacts",
]
