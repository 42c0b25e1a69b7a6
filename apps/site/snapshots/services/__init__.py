"""Writes of snapshots."""

from apps.site.snapshots.services.operations import (
    LostOperation,
    claim_operation,
    fail_restored_operations,
    finish_operation,
    recover_operations,
    report_progress,
    return_operation,
)
from apps.site.snapshots.services.requests import (
    request_drill,
    request_removal,
    request_snapshot,
    request_verification,
)
from apps.site.snapshots.services.results import (
    UNREADABLE,
    adopt_snapshot,
    adopt_unreadable,
    record_drill,
    record_removal,
    record_stored,
    record_verification,
    trim_snapshots,
)

__all__ = [
    "UNREADABLE",
    "LostOperation",
    "adopt_snapshot",
    "adopt_unreadable",
    "claim_operation",
    "fail_restored_operations",
    "finish_operation",
    "record_drill",
    "record_removal",
    "record_stored",
    "record_verification",
    "recover_operations",
    "report_progress",
    "request_drill",
    "request_removal",
    "request_snapshot",
    "request_verification",
    "return_operation",
    "trim_snapshots",
]
