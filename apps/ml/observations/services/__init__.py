"""Every write of observations: sources, batches that come in, parts that are sealed, what goes after its time."""

from apps.ml.observations.services.batches import BatchResult
from apps.ml.observations.services.datasets import create_dataset_version
from apps.ml.observations.services.labels import record_labels
from apps.ml.observations.services.predictions import record_predictions
from apps.ml.observations.services.references import store_feature_reference
from apps.ml.observations.services.retention import purge_observations
from apps.ml.observations.services.sealing import seal_observations
from apps.ml.observations.services.sources import create_source, update_source

__all__ = [
    "BatchResult",
    "create_dataset_version",
    "create_source",
    "purge_observations",
    "record_labels",
    "record_predictions",
    "seal_observations",
    "store_feature_reference",
    "update_source",
]
