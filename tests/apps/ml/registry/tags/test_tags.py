"""Tags of models and versions: set, changed and removed on the pages and by REST, with each value in the trail."""

import json

import pytest

from apps.core.canonical import compute_digest, sha256_hex
from apps.ml.registry.documents import build_client_document
from apps.ml.registry.filters import PROMPT
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.services import create_client_model, create_model
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
PAGE, URL = "/p/demo/models/oil", "/api/v1/projects/demo/models/oil"


@pytest.fixture
def model(project, engineer, actor_for):
    return create_model(actor=actor_for(engineer), project=project, name="oil")


@pytest.fixture
def version(model):
    model.versions_count = 1
    model.save()
    document = build_client_document(model="oil", number=1, source="s3://b", run=None, logged_model=None, files=[])
    return ModelVersion.objects.create(
        model=model, number=1, digest="a" * 64, document=document, source="s3://b", task="regression"
    )


@pytest.mark.parametrize("place", ["", "/1"])
def test_a_tag_is_set_changed_and_removed_on_the_page(engineer, web, version, place):
    client = web(engineer)
    for value in ("early", "late"):
        assert client.post(f"{PAGE}{place}/tags", {"key": "stage", "value": value}).url == f"{PAGE}{place}"
    content = client.get(f"{PAGE}{place}").content.decode()
    assert ('title="stage: late"' in content, "early" in content) == (True, False)
    client.post(f"{PAGE}{place}/tags/remove", {"key": "stage"})
    assert "stage: late" not in client.get(f"{PAGE}{place}").content.decode()
    records = AuditRecord.objects.filter(action__contains="tag").order_by("pk")
    assert [json.loads(record.body)["before"] for record in records] == [{}, {"stage": "early"}, {"stage": "late"}]


@pytest.mark.parametrize("place", ["", "/versions/1"])
def test_rest_lists_sets_and_removes(api, engineer, version, place):
    client, url = api(engineer), f"{URL}{place}/tags"
    body = {"key": "team", "value": "vision"}
    assert client.post(url, body, content_type="application/json").json() == [body]
    assert client.get(url).json() == [body]
    assert client.delete(f"{url}?key=team").status_code == 204
    assert client.delete(f"{url}?key=team").json()["error"]["field"] == "key"


@pytest.mark.parametrize("place", ["", "/versions/1"])
def test_a_record_holds_the_beginning_of_a_long_value_and_its_digest(api, engineer, version, place):
    client, url, long = api(engineer), f"{URL}{place}/tags", "0123456789" * 10_000
    for value in ("short", long, "short"):
        assert client.post(url, {"key": "k", "value": value}, content_type="application/json").status_code == 200
    client.post(url, {"key": "k", "value": long}, content_type="application/json")
    assert client.get(url).json() == [{"key": "k", "value": long}]
    client.delete(f"{url}?key=k")
    records = list(AuditRecord.objects.filter(action__contains="tag").order_by("pk"))
    bodies = [json.loads(record.body) for record in records]
    short, first = sha256_hex("short"), long[:500]
    assert [(body["before"], body["after"], body["digests"]) for body in bodies] == [
        ({}, {"k": "short"}, {"value": short}),
        ({"k": "short"}, {"k": first}, {"value": sha256_hex(long)}),
        ({"k": first}, {"k": "short"}, {"value": short, "before": sha256_hex(long)}),
        ({"k": "short"}, {"k": first}, {"value": sha256_hex(long)}),
        ({"k": first}, {}, {"before": sha256_hex(long)}),
    ]
    assert max(len(record.body) for record in records) < 3_000


def test_the_tags_of_a_new_model_are_recorded_by_their_beginnings_and_a_digest(project, engineer, actor_for):
    tags = {"k": "x" * 100_000}
    create_client_model(actor=actor_for(engineer), project=project, name="gas", tags=tags)
    body = json.loads(AuditRecord.objects.get(action="model.create").body)
    assert body["after"]["tags"] == {"k": "x" * 500}
    assert body["digests"] == {"tags": compute_digest(tags)}


@pytest.mark.parametrize("typed", [{"key": ""}, {"key": "a;b"}, {"key": "k" * 251}, {"key": PROMPT, "value": "true"}])
def test_what_is_no_tag_names_its_field_and_stays_typed(api, web, engineer, model, typed):
    answer = web(engineer).post(f"{PAGE}/tags", typed)
    assert (answer.status_code, answer.content.count(b'role="alert"')) == (422, 1)
    assert api(engineer).post(f"{URL}/tags", typed, content_type="application/json").status_code in (400, 422)


def test_who_may_not_write_is_refused(viewer, stranger, web, api, version):
    for place in ("/tags", "/tags/remove", "/1/tags", "/1/tags/remove"):
        assert web(viewer).post(f"{PAGE}{place}", {"key": "x"}).status_code == 403
        assert web(stranger).post(f"{PAGE}{place}", {"key": "x"}).status_code == 404
    assert api(viewer).post(f"{URL}/tags", {"key": "x"}, content_type="application/json").status_code == 403
    assert "Add or change a tag" not in web(viewer).get(PAGE).content.decode()
