"""Failures of an S3-compatible store as errors of the engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # type: ignore[import-untyped]

from deepseek.messages import N_, Message
from deepseek.snapshots.errors import SnapshotError

log = logging.getLogger(__name__)

CONDITION_CODES = {"PreconditionFailed", "ConditionalRequestConflict", "409", "412"}


@contextmanager
def translate_errors() -> Iterator[None]:
    """A store that is away or lets nobody in is SnapshotError; a missing object stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, OSError, TimeoutError) as error:
        log.warning("the store of snapshots: %r, because of %r", error, error.__cause__ or error.__context__)
        is_denied = isinstance(error, PermissionError | NoCredentialsError)
        raise SnapshotError(
            "snapshot_storage_unavailable",
            Message("The store of the snapshots refuses the keys.")
            if is_denied
            else Message("The store of the snapshots does not answer."),
            field="repository",
            hint=N_("The operator must check SNAPSHOT_DESTINATIONS and the SNAPSHOT_S3_* settings."),
        ) from error


def is_condition_failure(error: Exception) -> bool:
    """Whether a conditional write was refused because the object is another one, or gone, by now."""
    failure = error.__cause__ if isinstance(error, SnapshotError) else error
    cause = failure.__cause__ if failure is not None else None
    code = cause.response.get("Error", {}).get("Code", "") if isinstance(cause, ClientError) else ""
    return isinstance(failure, FileNotFoundError) or code in CONDITION_CODES
