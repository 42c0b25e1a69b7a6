"""Every write of labelling: connections, schemas, projects, results; and what the driver writes."""

from apps.ml.labelling.services.importing import ring_labelling
from apps.ml.labelling.services.projects import (
    close_labelling,
    create_labelling,
    request_result,
    set_bar,
    synchronize_labelling,
)
from apps.ml.labelling.services.results import adjudicate_task, reopen_task, set_gold, train_on_result
from apps.ml.labelling.services.schemas import save_schema
from apps.ml.labelling.services.servers import connect_server, delete_server, update_server

__all__ = [
    "adjudicate_task",
    "close_labelling",
    "connect_server",
    "create_labelling",
    "delete_server",
    "reopen_task",
    "request_result",
    "ring_labelling",
    "save_schema",
    "set_bar",
    "set_gold",
    "synchronize_labelling",
    "train_on_result",
    "update_server",
]
