"""Every order of every list walks an index from where the page begins: page 1000 costs what page 1 costs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.http import QueryDict

from apps.core.lists.listing import exclude_null_sort_values, parse_list_query
from apps.core.lists.pages import build_cursor_filter
from apps.data.datasets.lists import DATASETS
from apps.data.datasets.lists import VERSIONS as DATASET_VERSIONS
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.fleet.monitoring.lists import MONITORS
from apps.fleet.monitoring.models import Monitor
from apps.ml.endpoints.lists import ENDPOINTS
from apps.ml.endpoints.models import Endpoint
from apps.ml.experiments.experiment_list import EXPERIMENTS
from apps.ml.experiments.lists import build_listing, build_metric_column
from apps.ml.experiments.models import Experiment, Metric, Run
from apps.ml.federation.lists import LEDGER, PLANE_LEDGER, STUDIES
from apps.ml.federation.models import LedgerEntry, Study
from apps.ml.labelling.lists import LABELLINGS
from apps.ml.labelling.models import LabellingProject
from apps.ml.observations.lists import SOURCES
from apps.ml.observations.models import ObservationSource
from apps.ml.pipelines.lists import PIPELINES
from apps.ml.pipelines.models import Pipeline
from apps.ml.registry.lists import MODELS
from apps.ml.registry.lists import VERSIONS as MODEL_VERSIONS
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.sweeps.lists import SWEEPS
from apps.ml.sweeps.models import Sweep
from apps.platform.accounts.lists import PEOPLE, TOKENS
from apps.platform.accounts.models import User
from apps.platform.accounts.queries import list_own_tokens
from apps.platform.approvals.lists import APPROVALS
from apps.platform.approvals.models import Approval
from apps.platform.jobs.lists import JOBS
from apps.platform.jobs.models import Job
from apps.platform.notices.lists import NOTICES
from apps.platform.notices.models import Notice
from apps.site.isolation.lists import REPORTS
from apps.site.isolation.models import ProbeReport
from apps.site.mirror.lists import IMAGES, PACKAGES
from apps.site.mirror.models import ImageTag, Package
from apps.site.snapshots.lists import SNAPSHOTS
from apps.site.snapshots.models import Snapshot

pytestmark = pytest.mark.services
RUNS = build_listing([], [build_metric_column("loss")])
IN_A_PROJECT = (
    (ENDPOINTS, Endpoint),
    (LABELLINGS, LabellingProject),
    (STUDIES, Study),
    (LEDGER, LedgerEntry),
    (MONITORS, Monitor),
    (JOBS, Job),
    (PIPELINES, Pipeline),
    (SWEEPS, Sweep),
    (RUNS, Run),
    (EXPERIMENTS, Experiment),
    (DATASETS, Dataset),
    (MODELS, Model),
    (SOURCES, ObservationSource),
)
LISTS = {
    **{listing.key: (listing, lambda actor, model=model: seen(model, actor)) for listing, model in IN_A_PROJECT},
    "approvals": (APPROVALS, lambda actor: seen(Approval, actor)),
    "dataset_versions": (DATASET_VERSIONS, lambda actor: DatasetVersion.objects.filter(dataset_id=1)),
    "model_versions": (MODEL_VERSIONS, lambda actor: ModelVersion.objects.filter(model_id=1)),
    "notices": (NOTICES, lambda actor: Notice.objects.visible_to(actor)),
    "images": (IMAGES, lambda actor: ImageTag.objects.all()),
    "packages": (PACKAGES, lambda actor: Package.objects.visible_to(actor)),
    "people": (PEOPLE, lambda actor: User.objects.all()),
    "probe-reports": (REPORTS, lambda actor: ProbeReport.objects.all()),
    "plane_ledger": (PLANE_LEDGER, lambda actor: LedgerEntry.objects.all()),
    "snapshots": (SNAPSHOTS, lambda actor: Snapshot.objects.all()),
    "tokens": (TOKENS, list_own_tokens),
}
ORDERS = [
    (key, f"{sign}{column.key}")
    for key, (listing, _) in LISTS.items()
    for column in listing.sortable
    for sign in ("", "-")
]


def seen(model, actor):
    """The rows of a project as its list asks for them."""
    return model.objects.visible_to(actor).filter(project_id=min(actor.project_ids))


def plan_of(rows) -> str:
    """How the database would go about it if it did not mind how much it reads: by an index, or only by sorting."""
    if connection.vendor != "postgresql":
        return rows.explain()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    return rows.explain()


def edge_of(rows, order):
    """A place in the list, of the types that its columns have."""
    from apps.core.lists.pages import resolve_field

    texts = ("CharField", "TextField")
    types = [resolve_field(rows.model, name.lstrip("-"), nullable=True).get_internal_type() for name in order]
    return ["2026-01-01T00:00:00Z" if kind == "DateTimeField" else "x" if kind in texts else 5 for kind in types]


def test_every_order_walks_an_index(engineer, actor_for):
    actor, sorting = actor_for(engineer), {}
    for key, sort in ORDERS:
        listing, rows_of = LISTS[key]
        asked = parse_list_query(listing, QueryDict(f"sort={sort}"))
        if "metrics." in sort:
            rows = Metric.objects.filter(project_id=min(actor.project_ids), key="loss", is_nan=False)
        else:
            rows = exclude_null_sort_values(rows_of(actor), asked)
        later = rows.order_by(*asked.order).filter(build_cursor_filter(asked.order, edge_of(rows, asked.order)))
        for name, page in (("first page", rows.order_by(*asked.order)), ("later page", later)):
            plan = plan_of(page[:51])
            if "USE TEMP B-TREE FOR ORDER BY" in plan or "Sort" in plan:
                sorting[key, sort, name] = plan
    assert sorting == {}


def test_there_is_a_list_for_every_kind_of_row():
    assert len(ORDERS) > 60
