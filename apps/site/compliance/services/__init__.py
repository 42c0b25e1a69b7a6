"""Writes of compliance: runs and their results, documents, and gaps."""

from apps.site.compliance.services.documents import attach_document, open_document, withdraw_document
from apps.site.compliance.services.gaps import set_gap
from apps.site.compliance.services.runs import (
    claim_run,
    fail_run,
    finish_run,
    open_folder,
    recover_runs,
    request_run,
    start_run,
    store_folder,
)

__all__ = [
    "attach_document",
    "claim_run",
    "fail_run",
    "finish_run",
    "open_document",
    "open_folder",
    "recover_runs",
    "request_run",
    "set_gap",
    "start_run",
    "store_folder",
    "withdraw_document",
]
