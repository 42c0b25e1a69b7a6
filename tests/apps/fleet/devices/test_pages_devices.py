import html
import re

import pytest

from apps.fleet.devices.models import Assignment, DeviceGroup, EnrolmentToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/devices{tail}"


def read(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(answer.content.decode()))


def test_enrol_look_assign_and_quarantine(page, web, engineer, enrol, release, receive, fetch):
    client = web(engineer)
    assert "No devices yet" in read(client.get(page()))
    device = enrol("press-7", tags={"site": "berlin"})
    answer = client.post(page(f"/{device.pk}/assign"), {"op": "submit", "release": release.pk})
    assert answer.url == page(f"/{device.pk}")
    assignment = Assignment.objects.get()
    fetch(device)
    receive(device, release, assignment)
    shown = read(client.get(page(f"/{device.pk}")))
    assert "Its signed receipt says so." in shown
    assert f"{release.model_name} v{release.variant.version.number}" in shown
    listed = read(client.get(page("?query=tag.site = 'berlin'")))
    assert "press-7" in listed
    assert "Installed releases" in listed
    client.post(page(f"/{device.pk}/quarantine"), {"reason": "It rattles."})
    shown = read(client.get(page(f"/{device.pk}")))
    assert "It rattles." in shown
    assert "Assign a release" not in shown


def test_the_secret_of_a_token_is_shown_once(page, web, engineer):
    client = web(engineer)
    answer = read(client.post(page("/enrolment"), {"op": "submit", "name": "line 1", "days": "7", "tags": "a=1\nb"}))
    token = EnrolmentToken.objects.get()
    assert token.tags == {"a": "1", "b": ""}
    secret = re.search(rf"{token.prefix}[\w-]+", answer)[0]
    assert "--enrol @enrol.token" in answer
    assert f"--enrol {secret}" not in answer
    assert secret not in read(client.get(page("/enrolment")))
    client.post(page(f"/enrolment/{token.pk}/revoke"), {"reason": "lost"})
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_errors_stand_beside_their_fields(page, web, engineer, device, release):
    client = web(engineer)
    cells = {
        "/enrolment": ({"name": "", "days": "1000", "max_uses": "many"}, ("name", "days", "max_uses")),
        "/groups": ({"name": "Berlin!", "query": "tag.site = 'x'"}, ("name",)),
        f"/{device.pk}/assign": ({"release": "", "hours": "soon"}, ("release", "hours")),
        f"/{device.pk}/assign?": ({"release": "9" * 5000, "hours": "9" * 5000}, ("release", "hours")),
        f"/{device.pk}/change": ({"sampling_rate": "2", "tags": "=x"}, ("sampling_rate",)),
    }
    wrong = {}
    for tail, (data, fields) in cells.items():
        answer = client.post(page(tail), {"op": "submit", **data})
        shown = set(re.findall(r'class="field bad" data-pointer="(\w+)"', answer.content.decode()))
        if answer.status_code != 422 or not set(fields) <= shown:
            wrong[tail] = (answer.status_code, shown)
    assert wrong == {}
    assert (EnrolmentToken.objects.filter(name="").count(), DeviceGroup.objects.count()) == (0, 0)


def test_groups(page, web, engineer, device):
    client = web(engineer)
    bad = read(client.post(page("/groups"), {"op": "submit", "name": "all", "query": "colour = 'red'"}))
    assert "colour" in bad.partition('data-pointer="query"')[2]
    client.post(page("/groups"), {"op": "submit", "name": "intel", "query": "architecture = 'x86_64'"})
    assert device.name in read(client.get(page("?group=intel")))
    client.post(page("/groups/intel/delete"))
    assert not DeviceGroup.objects.exists()


def test_who_may_not(page, web, viewer, stranger, device):
    client = web(viewer)
    shown = read(client.get(page(f"/{device.pk}")))
    assert "Assign a release" not in shown
    assert client.post(page(f"/{device.pk}/quarantine"), {"reason": "x"}).status_code == 403
    assert client.post(page("/enrolment"), {"name": "x"}).status_code == 403
    assert web(stranger).get(page()).status_code == 404
