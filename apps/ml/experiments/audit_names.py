"""Names of runs and experiments, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.ml.experiments.models import Experiment, Run
from apps.platform.audit.naming.object_names import parse_keys


def name_runs(ids: Collection[str]) -> dict[str, str]:
    return dict(Run.objects.filter(pk__in=ids).values_list("pk", "name"))


def name_experiments(ids: Collection[str]) -> dict[str, str]:
    experiments = Experiment.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "name")
    return {str(pk): name for pk, name in experiments}
