"""The pages of observations."""

from datetime import timedelta

import pytest

from apps.ml.observations.models import ObservationSource
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/observations{tail}"


def test_a_source_is_created_on_the_list(web, engineer, viewer, page, versions):
    answer = web(engineer).get(page())
    assert "curl" in answer.content.decode()
    sent = {"name": "live", "kind": "device", "task": "regression", "sampling_rate": "2", "retention_days": "x"}
    answer = web(engineer).post(page(), sent)
    text = answer.content.decode()
    assert (answer.status_code, "/sampling_rate" in text or "less than or equal" in text) == (422, True)
    assert text.count('aria-invalid="true"') == 2
    answer = web(engineer).post(page(), {**sent, "sampling_rate": "0.5", "retention_days": ""})
    assert (answer.status_code, answer["Location"]) == (302, page("/live"))
    assert "observations/predictions" in web(viewer).get(page("/live")).content.decode()  # how to send the first
    assert web(viewer).post(page(), sent).status_code == 403
    again = web(engineer).post(page(), {**sent, "sampling_rate": "1", "retention_days": ""})
    assert again.status_code == 422
    assert [item.pointer for item in again.context["form"].problems] == ["name"]


def test_the_page_of_a_source_shows_its_figures(web, viewer, stranger, predict, label, page, hour):
    predict("a", "b", latency_ms=3.0)
    predict("c", version=2, at=hour - timedelta(days=2))
    label("a")
    text = web(viewer).get(page("/live")).content.decode()
    assert "2 predictions in this period, 1 of them labelled." in text
    assert ("wti v1" in text, "100.0 %" in text) == (True, True)
    text = web(viewer).get(page("/live?period=7d&version=wti:2")).content.decode()
    assert "1 prediction in this period, 0 of them labelled." in text
    for query in ("period=2y", "version=wti", "version=wti:x"):
        assert web(viewer).get(page(f"/live?{query}")).status_code == 422
    assert web(viewer).get(page("?model=wti")).content.decode().count('observations/live"') == 1
    assert 'observations/live"' not in web(viewer).get(page("?model=other")).content.decode()
    assert web(stranger).get(page("/live")).status_code == 404
    assert web(viewer).get(page("/none")).status_code == 404


def test_settings_are_saved(web, engineer, viewer, page, source, predict):
    predict("a")
    answer = web(engineer).post(page("/live/settings"), {"sampling_rate": "0.25", "retention_days": "30"})
    source.refresh_from_db()
    assert (answer.status_code, source.sampling_rate, source.retention_days) == (302, 0.25, 30)
    assert web(engineer).post(page("/live/settings"), {"sampling_rate": "much"}).status_code == 422
    assert web(viewer).post(page("/live/settings"), {"sampling_rate": "1"}).status_code == 403


def test_a_dataset_version_is_made_of_a_period(web, engineer, viewer, predict, page, hour, monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    predict("a")
    sent = {"dataset": "seen", "since": hour.isoformat(), "until": f"{hour + timedelta(hours=1):%Y-%m-%d %H:%M}"}
    assert web(viewer).post(page("/live/dataset"), sent).status_code == 403
    answer = web(engineer).post(page("/live/dataset"), {**sent, "since": "soon"})
    assert (answer.status_code, "is no time" in answer.content.decode()) == (422, True)
    assert web(engineer).post(page("/live/dataset"), {**sent, "model_version": "wti:2"}).status_code == 422
    answer = web(engineer).post(page("/live/dataset"), {**sent, "model_version": "wti:1", "features": "json"})
    job = Job.objects.get()
    assert (answer.status_code, answer["Location"].endswith(f"/jobs/{job.pk}")) == (302, True)
    assert ObservationSource.objects.count() == 1
