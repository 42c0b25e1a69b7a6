"""Delivers what the servers have recorded: files of JSON lines become observations of the source of their endpoint."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.ml.endpoints.models import Replica
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.schemas import MAX_ROWS_PER_BATCH, PredictionRow
from apps.ml.observations.services import record_predictions

log = logging.getLogger(__name__)

MAX_FILES = 4  # of one replica in a round: others wait for the database too
REFUSED = ".refused"


def deliver_predictions(actor: Actor, replica: Replica, folder: Path) -> None:
    """Deliver the complete files in `folder`, the oldest first, and remove each once it is stored.

    A row that comes twice counts once, so a worker that dies in between does no harm. A file that is refused is put
    aside, the newest such one is kept. Raises DatabaseError, and then the file stays.
    """
    paths = sorted(folder.glob("*.jsonl"))[:MAX_FILES] if folder.is_dir() else []
    if not paths:
        return
    endpoint = replica.endpoint
    source = ObservationSource.objects.filter(project=endpoint.project_id, name=endpoint.name).first()
    if source is None:
        return
    for path in paths:
        try:
            rows = [PredictionRow.model_validate_json(line) for line in path.read_bytes().splitlines() if line]
            rows = [row.model_copy(update={"model": endpoint.model.name}) for row in rows]
            for place in range(0, len(rows), MAX_ROWS_PER_BATCH):
                record_predictions(actor=actor, source=source, rows=rows[place : place + MAX_ROWS_PER_BATCH])
        except (PlaneError, ValidationError) as failure:
            log.error("replica %s: recorded predictions were refused: %s", replica.pk, str(failure)[:500])
            for former in folder.glob(f"*{REFUSED}"):
                former.unlink(missing_ok=True)
            path.rename(path.with_suffix(REFUSED))
        else:
            path.unlink(missing_ok=True)
