from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.errors import Invalid, NotFound, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from apps.platform.lineage.services import record_edges

pytestmark = [pytest.mark.django_db, pytest.mark.services]
DIGEST = "a" * 64


def test_records_the_edges_once_with_one_audit_record(worker_actor, project, edge):
    edges = [edge("dataset_version:1", "job:7"), edge("job:7", "dataset_version:2")]
    assert record_edges(actor=worker_actor, project=project, edges=edges) == 2
    assert Edge.objects.filter(project=project, role="table").count() == 2
    record = AuditRecord.objects.get(action="lineage.record")
    assert "dataset_version 1 job 7 table" in record.body
    assert record.project_id == project.pk


def test_again_changes_nothing_and_is_not_recorded(worker_actor, project, edge):
    first, second = edge("dataset_version:1", "job:7"), edge("dataset_version:1", "job:8")
    record_edges(actor=worker_actor, project=project, edges=[first, first])
    assert record_edges(actor=worker_actor, project=project, edges=[first]) == 0
    assert record_edges(actor=worker_actor, project=project, edges=[first, second]) == 1
    assert (Edge.objects.count(), AuditRecord.objects.count()) == (2, 2)


def test_no_edges_are_no_write(worker_actor, project):
    assert record_edges(actor=worker_actor, project=project, edges=[]) == 0
    assert not AuditRecord.objects.exists()


def test_a_long_label_is_cut(worker_actor, project):
    spec = EdgeSpec.between(End("job", "1", label="x" * 300), End("artifact", DIGEST, DIGEST, "y"), "out")
    record_edges(actor=worker_actor, project=project, edges=[spec])
    assert len(Edge.objects.get().source_label) == 160


WRONG_EDGES = [
    (EdgeSpec.between(End("banana", "1"), End("job", "1"), "t"), "type"),
    (EdgeSpec.between(End("job", ""), End("job", "1"), "t"), "id"),
    (EdgeSpec.between(End("job", "x" * 81), End("job", "1"), "t"), "id"),
    (EdgeSpec.between(End("job", "1\n"), End("job", "1"), "t"), "id"),
    (EdgeSpec.between(End("job", "1", "abc"), End("job", "2"), "t"), "digest"),
    (EdgeSpec.between(End("job", "1"), End("job", "1"), "t"), "target"),
    (EdgeSpec.between(End("job", "1"), End("job", "2"), ""), "role"),
    (EdgeSpec.between(End("job", "1"), End("job", "2"), "t" * 61), "role"),
]


def test_wrong_edges_are_refused_and_nothing_is_written(worker_actor, project, edge):
    fields = []
    for spec, _ in WRONG_EDGES:
        with pytest.raises(Invalid) as caught:
            record_edges(actor=worker_actor, project=project, edges=[edge("job:1", "job:2"), spec])
        fields.append(caught.value.field)
    assert fields == [field for _, field in WRONG_EDGES]
    assert not Edge.objects.exists()


def test_a_viewer_is_refused_and_a_stranger_finds_nothing(actor_for, viewer, stranger, project, edge):
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            record_edges(actor=actor_for(who), project=project, edges=[edge("job:1", "job:2")])
    assert not Edge.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_at_once_is_once(worker_actor, project, edge):
    edges = [edge("job:1", f"job:{n}") for n in range(2, 12)]

    def record(_):
        try:
            record_edges(actor=worker_actor, project=project, edges=edges)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))
    assert Edge.objects.count() == 10
