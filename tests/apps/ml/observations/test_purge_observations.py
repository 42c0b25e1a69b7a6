"""What is past the retention of its source goes; figures stay, and nothing counts twice."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Invalid, Refused
from apps.ml.observations.models import HourFigures, Label, Landing, ObservationPart, ObservationSource, Prediction
from apps.ml.observations.services import purge_observations, retention, seal_observations
from apps.ml.observations.services.sealing import LATE_REST
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.audit.models import AuditRecord
from apps.platform.holds.models import Hold

pytestmark = [pytest.mark.django_db, pytest.mark.services]
OLD = timedelta(days=10)


@pytest.fixture
def purge(worker_actor):
    return lambda: purge_observations(actor=worker_actor)


@pytest.fixture
def old_rows(predict, label, hour, worker_actor):
    """Rows of ten days ago in a part, others of two hours ago, and a label that waits."""
    predict("a", "b", at=hour - OLD)
    label("a", "never")
    seal_observations(actor=worker_actor, now=timezone.now() + LATE_REST)
    predict("landed", at=hour - OLD)
    predict("new")
    ObservationSource.objects.update(retention_days=7)
    Label.objects.filter(key="never").update(received_at=timezone.now() - OLD)


def test_old_rows_and_parts_go_and_figures_stay(old_rows, purge, operator, predict, hour, source):
    sealed = set(ObservationPart.objects.values_list("artifact_id", flat=True))
    assert purge() == {"parts": 2, "landed": 1, "predictions": 3, "labels": 1, "waiting_labels": 1}
    assert set(Prediction.objects.values_list("key", flat=True)) == {"new"}
    assert not Label.objects.exists()
    assert HourFigures.objects.get(hour=hour - OLD).predictions == 3
    assert Landing.objects.count() == 1
    assert AuditRecord.objects.filter(action="observation.purge").count() == 1
    assert sealed <= {item.digest for item in collect_garbage(actor=operator, older_than=timedelta(0)).gone}
    assert purge() == {}
    source.retention_days = None
    source.save(update_fields=["retention_days"])
    with pytest.raises(Invalid) as caught:  # counted before: it would count twice
        predict("a", at=hour - OLD)
    assert caught.value.code == "too_old"


def test_a_part_is_no_garbage_while_its_row_is_there(old_rows, operator):
    sealed = set(ObservationPart.objects.values_list("artifact_id", flat=True))
    assert not sealed & {item.digest for item in collect_garbage(actor=operator, older_than=timedelta(0)).gone}


@pytest.mark.parametrize("kind", ["observationsource", "project"])
def test_what_is_held_stays(old_rows, purge, source, kind):
    target = str(source.pk) if kind == "observationsource" else ""
    hold = Hold.objects.create(project=source.project, object_type=kind, object_id=target, reason="case 7")
    assert purge() == {}
    Hold.objects.filter(pk=hold.pk).update(released_at=timezone.now())
    assert purge()["parts"] == 2


def test_many_rows_go_in_several_transactions(old_rows, purge, monkeypatch):
    monkeypatch.setattr(retention, "ROWS_PER_TRANSACTION", 1)
    assert purge()["predictions"] == 3
    assert AuditRecord.objects.filter(action="observation.purge").count() == 3


def test_only_the_plane_purges(actor_for, engineer):
    with pytest.raises(Refused):
        purge_observations(actor=actor_for(engineer))
