"""A file with marked columns leaves for a named purpose, by those who may, within its retention; else not at all."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.personal_data.models import PersonalColumn
from apps.platform.audit.models import AuditRecord
from tests.apps.data.personal_data.conftest import PEOPLE_CSV

pytestmark = pytest.mark.django_db


@pytest.fixture
def addresses(dataset):
    """Of the same bytes, as a file of the version and as an artifact."""
    base = f"/api/v1/projects/{dataset.project.slug}"
    return f"{base}/datasets/people/versions/1/files/table.csv", f"{base}/artifacts/{dataset.digest}"


def read_codes(client, addresses, **query):
    answers = [client.get(address, query) for address in addresses]
    return [answer.json()["error"]["code"] if answer.status_code == 403 else answer.status_code for answer in answers]


def test_without_marks_nothing_is_asked(api, viewer, addresses):
    assert read_codes(api(viewer), addresses) == [200, 200]
    assert not AuditRecord.objects.filter(action="personal_data.use").exists()


def test_a_purpose_is_needed_and_recorded(api, engineer, viewer, addresses, mark):
    client = api(engineer)
    assert read_codes(client, addresses) == ["purpose_missing"] * 2
    assert read_codes(client, addresses, purpose="x") == ["purpose_missing"] * 2
    assert read_codes(client, addresses, purpose="Shift planning") == [200, 200]
    answer = client.get(addresses[0], headers={"X-Purpose": "Shift planning"})
    assert b"".join(answer.streaming_content) == PEOPLE_CSV
    uses = AuditRecord.objects.filter(action="personal_data.use", result="done")
    assert list(uses.values_list("actor", "object_id").distinct()) == [(engineer.username, mark.dataset.digest)]
    assert uses.count() == 3
    assert read_codes(api(viewer), addresses, purpose="Shift planning") == ["refused"] * 2
    assert AuditRecord.objects.filter(action="personal_data.use", result="refused").count() == 6


def test_after_its_retention_it_is_refused(api, engineer, addresses, mark):
    PersonalColumn.objects.update(retain_until=timezone.localdate() - timedelta(days=1))
    assert read_codes(api(engineer), addresses, purpose="Shift planning") == ["personal_data_overdue"] * 2


def test_pages_and_previews_hide_the_cells(api, web, engineer, dataset, mark):
    preview = api(engineer).get(f"/api/v1/projects/{dataset.project.slug}/datasets/people/versions/1/preview").json()
    assert preview["rows"][0] == ["王伟", "***", "a@plant.cn", "1"]
    page = f"/p/{dataset.project.slug}/data/people/1"
    shown = web(engineer).get(f"{page}/preview").content
    assert (b"13812345678" in shown, b"a@plant.cn" in shown) == (False, True)
    assert b'name="purpose"' in web(engineer).get(f"{page}/files").content
