import pytest

from apps.platform.nodes.disk_speed import BLOCK_BYTES, measure_disk_speed
from apps.platform.nodes.services import record_disk_speed


def test_measures_and_leaves_nothing(tmp_path):
    speed = measure_disk_speed(tmp_path / "scratch", max_bytes=2 * BLOCK_BYTES)
    assert speed["bytes"] == 2 * BLOCK_BYTES
    assert speed["read_bytes_per_second"] > 0 < speed["write_bytes_per_second"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_disk_without_room_is_not_measured(tmp_path):
    with pytest.raises(OSError):
        measure_disk_speed(tmp_path, max_bytes=BLOCK_BYTES - 1)


@pytest.mark.django_db
def test_the_page_shows_the_rate_beside_the_reference(web, engineer, worker_actor, node):
    page = web(engineer).get(f"/nodes/{node.name}/hardware").content
    assert b"manage.py node measure-disk gpu-01" in page
    speed = {"read_bytes_per_second": 3_250_000_000, "write_bytes_per_second": 10**9, "bytes": 2**29, "is_direct": True}
    assert record_disk_speed(actor=worker_actor, node=node, speed=speed)
    page = web(engineer).get(f"/nodes/{node.name}/hardware").content
    assert b"3.25 GB/s" in page
    assert b"50% of the reference" in page
    assert b"6.50 GB/s" in page


@pytest.mark.django_db
def test_an_idle_worker_measures_once_it_is_time(worker_actor, node, tmp_path, monkeypatch):
    from workers import heartbeat

    speed = {"read_bytes_per_second": 1, "write_bytes_per_second": 1}
    monkeypatch.setattr(heartbeat, "measure_disk_speed", lambda folder: speed)
    monkeypatch.setattr(heartbeat.connection, "close", lambda: None)
    check = heartbeat.DiskSpeedCheck(actor=worker_actor, node=node, folder=tmp_path)
    assert not check.measure_when_due(is_idle=True)  # it has just been started
    check.next_look = 0.0
    assert not check.measure_when_due(is_idle=False)
    check.measure()
    node.refresh_from_db()
    assert node.disk_speed == speed
    assert not check.measure_when_due(is_idle=True)  # measured within the week
