"""Parts: what landed becomes a file once, whoever is killed or comes twice."""

from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from apps.core.errors import Refused, Unavailable
from apps.data.datasets.bounded_process import ProcessAnswer, ProcessFault
from apps.ml.observations.models import Landing, ObservationPart, ObservationSource
from apps.ml.observations.services import sealing
from apps.ml.observations.services.batches import HOUR
from apps.ml.observations.services.sealing import LATE_REST, seal_observations, seal_period
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from tests.forks import kill_at

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def seal(worker_actor):
    return lambda after=LATE_REST: seal_observations(actor=worker_actor, now=timezone.now() + after)


def read_part(part, tmp_path):
    path = tmp_path / f"{part.pk}.parquet"
    path.write_bytes(b"".join(get_store().open(part.artifact_id)))
    return pq.read_table(path).to_pylist()


def test_an_hour_becomes_a_part_of_each_kind_and_late_rows_another(predict, label, seal, hour, tmp_path):
    predict("a", features={"x": [1, 2]}, latency_ms=2.5)
    predict("b", answer=3)
    label("a")
    assert seal() == 2
    assert not Landing.objects.exists()
    predictions, labels = ObservationPart.objects.order_by("-kind")
    rows = read_part(predictions, tmp_path)
    assert [(row["id"], row["answer"], row["features"], row["latency_ms"]) for row in rows] == [
        ("a", '"up"', '{"x":[1,2]}', 2.5),
        ("b", "3", None, None),
    ]
    assert (rows[0]["at"], rows[0]["model"], rows[0]["version"]) == (hour, "wti", 1)
    assert [(row["id"], row["label"]) for row in read_part(labels, tmp_path)] == [("a", '"up"')]
    assert AuditRecord.objects.filter(action="observation.seal").count() == 1
    predict("late")
    assert seal() == 1
    assert list(ObservationPart.objects.filter(kind="predictions").values_list("rows", flat=True)) == [2, 1]


def test_an_open_hour_is_left_and_late_rows_wait_for_others(predict, seal, source, worker_actor):
    now = timezone.now()
    predict("now", at=now)
    predict("late", at=now - timedelta(hours=30))
    assert (seal(timedelta(0)), seal(timedelta(hours=5))) == (0, 1)  # that of the hour that is over by then
    assert seal() == 1
    predict("again", at=now)
    assert seal_period(actor=worker_actor, source=source, since=now, until=now + HOUR) == 1


def test_a_large_hour_is_sealed_in_parts_before_it_ends(predict, seal, monkeypatch):
    monkeypatch.setattr(sealing, "SEAL_CHARACTERS", 100)
    for key in "abc":
        predict(key, at=timezone.now())
    assert seal(timedelta(0)) == 3


@pytest.mark.django_db(transaction=True)
def test_a_kill_before_the_row_and_two_sealers_lose_and_double_nothing(predict, seal, monkeypatch):
    predict("a", "b")
    register_parts = sealing.register_parts
    assert kill_at(sealing, "register_parts", seal)
    assert (Landing.objects.count(), ObservationPart.objects.count()) == (1, 0)

    def let_another_win(*rest):
        monkeypatch.setattr(sealing, "register_parts", register_parts)
        assert seal() == 1
        register_parts(*rest)

    monkeypatch.setattr(sealing, "register_parts", let_another_win)
    assert seal() == 0
    assert list(ObservationPart.objects.values_list("rows", flat=True)) == [2]
    assert not Landing.objects.exists()


def test_rows_that_another_seals_while_they_are_read_are_left_to_it(predict, seal, monkeypatch):
    predict("a")
    stream = sealing.stream_to_module

    def let_another_win(*args, **limits):
        monkeypatch.setattr(sealing, "stream_to_module", stream)
        assert seal() == 1
        return stream(*args, **limits)

    monkeypatch.setattr(sealing, "stream_to_module", let_another_win)
    assert seal() == 0
    assert list(ObservationPart.objects.values_list("rows", flat=True)) == [1]


def test_a_source_that_cannot_be_sealed_holds_up_no_other(predict, seal, monkeypatch, project, source):
    predict("a")
    other = ObservationSource.objects.create(project=project, name="second", task="classification", created_by="test")
    predict("b", to=other)
    stream_to_module = sealing.stream_to_module

    def fail_once(*args, **limits):
        monkeypatch.setattr(sealing, "stream_to_module", stream_to_module)
        return ProcessAnswer(fault=ProcessFault.TIME)

    monkeypatch.setattr(sealing, "stream_to_module", fail_once)
    with pytest.raises(Unavailable) as caught:
        seal()
    assert caught.value.code == "seal_failed"
    assert (Landing.objects.get().source, ObservationPart.objects.get().source) == (source, other)


def test_a_request_does_not_wait_for_ever(predict, source, hour, worker_actor, monkeypatch):
    predict("a")
    predict("b", at=hour - HOUR)
    monkeypatch.setattr(sealing, "PARTS_PER_CHILD", 1)
    monkeypatch.setattr(sealing, "PATIENCE_SECONDS", 0.0)
    period = {"source": source, "since": hour - HOUR, "until": hour + HOUR}
    with pytest.raises(Unavailable) as caught:
        seal_period(actor=worker_actor, **period)
    assert caught.value.code == "sealing_goes_on"
    monkeypatch.setattr(sealing, "PATIENCE_SECONDS", 20.0)
    assert seal_period(actor=worker_actor, **period) == 2


def test_a_request_seals_what_was_there_when_it_came(predict, source, hour, worker_actor, monkeypatch):
    """While traffic goes on, which would never end."""
    predict("a")
    register_parts = sealing.register_parts

    def send_and_register(*rest):
        register_parts(*rest)
        predict(f"b{Landing.objects.count()}{ObservationPart.objects.count()}")

    monkeypatch.setattr(sealing, "register_parts", send_and_register)
    assert seal_period(actor=worker_actor, source=source, since=hour, until=hour + HOUR) == 1
    assert (ObservationPart.objects.count(), Landing.objects.count()) == (1, 1)


def test_rows_stay_where_the_file_cannot_be_written(predict, seal, monkeypatch):
    predict("a")
    monkeypatch.setattr(sealing, "PACKER", "deepseek.observations.none")
    with pytest.raises(Unavailable):
        seal()
    assert Landing.objects.count() == 1


def test_only_the_plane_seals(predict, actor_for, engineer):
    with pytest.raises(Refused):
        seal_observations(actor=actor_for(engineer))
