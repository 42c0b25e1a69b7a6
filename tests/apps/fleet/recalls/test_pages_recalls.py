from __future__ import annotations

import pytest

from apps.fleet.recalls.models import Recall

pytestmark = pytest.mark.django_db


@pytest.fixture
def search(project, dataset_version):
    return f"/p/{project.slug}/recalls/search?type=dataset_version&id={dataset_version.pk}"


def test_from_the_search_to_the_report(web, engineer, search, bad, returning_device, advance, project):
    client = web(engineer)
    page = client.get(search).content.decode()
    assert "<b>1 model version</b> carries it" in page
    assert "press-1" in client.get(f"{search}&kind=device").content.decode()
    answer = client.post(search, {"reason": "wrong units", "quarantine": "true"})
    recall = Recall.objects.get()
    assert (answer.status_code, answer.url, recall.quarantines) == (302, f"/p/{project.slug}/recalls/{recall.pk}", True)
    advance(recall)
    report = client.get(answer.url).content.decode()
    assert "<b>1 active device</b> still runs it" in report
    assert "Rolling back" in report
    assert "It is being recalled." in client.get(search).content.decode()
    assert client.post(f"{answer.url}/retry", {"reason": ""}).status_code == 302
    assert "wrong units" in client.get(f"/p/{project.slug}/recalls").content.decode()


def test_what_is_wrong_stands_beside_its_field(web, engineer, search, bad, project):
    client = web(engineer)
    answer = client.post(search, {"reason": " "})
    assert answer.status_code == 422
    assert "Give a reason." in answer.content.decode()
    assert client.get(f"/p/{project.slug}/recalls/search?type=run&id=1").status_code == 404
    assert client.get(f"/p/{project.slug}/recalls/search?type=planet&id=1").status_code == 422
    assert client.get(f"/p/{project.slug}/recalls/search").status_code == 200


def test_who_may_not(web, viewer, stranger, search, bad, start):
    page = web(viewer).get(search)
    assert "Engineers and approvers of the project may recall it." in page.content.decode()
    assert web(viewer).post(search, {"reason": "x"}).status_code == 403
    assert web(stranger).get(search).status_code == 404
    assert not Recall.objects.exists()


def test_every_lineage_tab_leads_to_the_search(web, engineer, project, dataset_version, bad):
    page = web(engineer).get(f"/p/{project.slug}/lineage/dataset_version/{dataset_version.pk}").content.decode()
    assert f"/recalls/search?type=dataset_version&amp;id={dataset_version.pk}" in page


def test_the_page_of_a_blocked_version_says_why_and_an_approver_lifts_it(web, engineer, approver, project, bad, start):
    start()
    page = f"/p/{project.slug}/models/wti-forecast/{bad.version.number}"
    shown_to_engineer = web(engineer).get(page).content.decode()
    assert "by engineer: wrong units" in shown_to_engineer
    assert "Unblock" not in shown_to_engineer
    assert web(engineer).post(f"{page}/unblock", {"reason": "fine"}).status_code == 403
    client = web(approver)
    assert "Unblock" in client.get(page).content.decode()
    assert "Give a reason." in client.post(f"{page}/unblock", {"reason": " "}, follow=True).content.decode()
    assert "is not blocked any more" in client.post(f"{page}/unblock", {"reason": "fine"}, follow=True).content.decode()
