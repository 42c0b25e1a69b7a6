import html
import re

import pytest

from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.services import predicting
from apps.ml.endpoints.services.predicting import TryAnswer

pytestmark = pytest.mark.django_db
FORM = {"op": "submit", "name": "oil", "model": "wti-forecast@production", "nodes": "a", "replicas": "2"}


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/endpoints{tail}"


def test_create_look_suspend_resume_and_delete(node, version, report, follow, engineer, page, web):
    client = web(engineer)
    assert b"No endpoints yet" in client.get(page()).content
    assert client.post(page(), FORM).url == page("/oil")
    endpoint = Endpoint.objects.get()
    report(endpoint, figures={"requests": 9, "rate": 4.5, "p50_ms": 0.8, "p95_ms": 1.25, "failed": 0})
    follow(endpoint)
    content = client.get(page("/oil")).content.decode()
    assert "curl -H" in content
    assert "1.25" in content
    assert "9.0" in client.get(page()).content.decode()  # of both servers together
    client.post(page("/oil/suspend"), {"reason": "x"})
    assert b"Resume" in client.get(page("/oil")).content
    client.post(page("/oil/resume"))
    client.post(page("/oil/delete"), {"reason": "x"})
    assert client.get(page("/oil")).status_code == 404


def test_errors_stand_beside_their_fields(node, version, engineer, page, web):
    answer = web(engineer).post(page(), {**FORM, "name": "Oil!", "nodes": "z"})
    assert answer.status_code == 422
    assert b"cannot be a name" in answer.content
    answer = web(engineer).post(page(), {**FORM, "nodes": "z", "replicas": "many"})
    assert (answer.status_code, Endpoint.objects.count()) == (422, 0)


def test_the_form_of_a_try_has_a_field_for_each_feature(
    node, version, create, report, engineer, page, web, monkeypatch
):
    endpoint = create()
    report(endpoint)
    sent = []

    def post(replica, body):
        sent.append(body)
        return TryAnswer(200, {"prediction": 7.5}, "a:8600", "1", 3.2)

    monkeypatch.setattr(predicting, "post", post)
    answer = web(engineer).post(page("/oil/try"), {"f0": "1.5", "f1": "2"})
    assert b"7.5" in answer.content
    assert sent == [b'{"features": [1.5, 2.0]}']
    answer = web(engineer).post(page("/oil/try"), {"f0": "one", "f1": "2"})
    assert (answer.status_code, len(sent)) == (422, 1)
    assert b"This is no number" in answer.content


SETTINGS = {"op": "submit", "nodes": "a", "replicas": "1", "variant": "fp32", "sampling_rate": "0"}


def test_settings_change_and_errors_stand_beside_their_fields(
    node, version, registered, create, engineer, viewer, page, web
):
    endpoint, candidate, client = create(), registered(), web(engineer)
    shadow = {"shadow_version": str(candidate.number), "shadow_rate": "0.5"}
    changes = {**SETTINGS, **shadow, "replicas": "2", "sampling_rate": "0.25", "variant": "int8"}
    assert client.post(page("/oil/settings"), changes).url == page("/oil")
    endpoint.refresh_from_db()
    assert (endpoint.replicas_per_node, endpoint.sampling_rate, endpoint.variant) == (2, 0.25, "int8")
    assert (endpoint.shadow_version, endpoint.shadow_rate) == (candidate, 0.5)
    form = client.get(page("/oil")).context["settings_form"]
    assert form.values == {name: value for name, value in changes.items() if name != "op"}
    wrong = {"nodes": "z", "replicas": "many", "sampling_rate": "2", "variant": "odd", "shadow_rate": "0"}
    beside = {}
    for name, value in wrong.items():
        answer = client.post(page("/oil/settings"), {**changes, name: value})
        assert answer.status_code == 422
        beside[name] = set(answer.context["settings_form"].errors)
    assert beside == {name: {name} for name in wrong}
    client.post(page("/oil/settings"), SETTINGS)
    endpoint.refresh_from_db()
    assert (endpoint.shadow_version, endpoint.replicas_per_node) == (None, 1)
    assert web(viewer).post(page("/oil/settings"), SETTINGS).status_code == 403
    assert b'id="settings"' not in web(viewer).get(page("/oil")).content


def test_a_token_stands_on_the_page_of_its_post_alone(add_node, version, create, engineer, viewer, page, web):
    add_node("a", address="10.0.0.5")
    create()
    client = web(engineer)
    assert b"No token yet" in client.get(page("/oil")).content
    made = client.post(page("/oil/token")).content.decode()
    [secret] = set(re.findall(r"dse_[\w-]{43}", made))
    later = client.get(page("/oil")).content.decode()
    assert secret not in later
    assert secret[:12] in later
    assert "No token yet" not in later
    assert "Authorization: Bearer $TOKEN" in html.unescape(later)
    assert web(viewer).post(page("/oil/token")).status_code == 403


def test_who_may_not(node, version, create, viewer, stranger, page, web):
    create()
    assert b"New endpoint" not in web(viewer).get(page()).content
    assert web(viewer).post(page(), FORM).status_code == 403
    assert web(viewer).post(page("/oil/try"), {"f0": "1", "f1": "2"}).status_code == 403
    assert web(stranger).get(page("/oil")).status_code == 404
