"""What people say about a dataset: description, keywords and a card in Markdown, with every change in the trail."""

import json

import pytest

from apps.core.errors import Invalid, NotFound, Refused
from apps.core.revisions import compute_revision
from apps.data.datasets.cards.services import describe_dataset, read_texts
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/data/wti-daily"
URL = "/api/v1/projects/demo/datasets/wti-daily"


def get_revision(dataset):
    return compute_revision(read_texts(dataset))


def test_the_card_is_shown_without_html_and_the_trail_has_both(engineer, web, dataset):
    client = web(engineer)
    card = "## Source\n\n<script>x</script> **daily**"
    form = {"description": "Prices", "keywords": "oil, 原油, oil", "card": card, "revision": get_revision(dataset)}
    assert client.post(f"{PAGE}/card", form).url == PAGE
    content = client.get(PAGE).content.decode()
    assert "<h4>Source</h4>" in content
    assert "&lt;script&gt;x&lt;/script&gt; <strong>daily</strong>" in content
    assert "原油" in client.get("/p/demo/data?name=原油").content.decode()
    body = json.loads(AuditRecord.objects.get(action="dataset.describe").body)
    assert (body["before"]["keywords"], body["after"]["keywords"]) == ("", "oil, 原油")


def test_a_preview_saves_nothing(engineer, web, dataset):
    answer = web(engineer).post(f"{PAGE}/card", {"card": "*new*", "op": "preview"})
    assert "<em>new</em>" in answer.content.decode()
    dataset.refresh_from_db()
    assert dataset.card == ""


def test_the_same_again_leaves_no_record(engineer, actor_for, dataset):
    for _twice in range(2):
        describe_dataset(actor=actor_for(engineer), dataset=dataset, card="one")
    assert AuditRecord.objects.filter(action="dataset.describe").count() == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"card": "x" * 20_001}, "card"),
        ({"description": "x" * 501}, "description"),
        ({"keywords": ["x" * 41]}, "keywords"),
        ({"keywords": [str(number) for number in range(21)]}, "keywords"),
    ],
)
def test_what_is_too_long_names_its_field(engineer, actor_for, dataset, fields, field):
    with pytest.raises(Invalid) as raised:
        describe_dataset(actor=actor_for(engineer), dataset=dataset, **fields)
    assert raised.value.field == field


def test_rest_changes_what_is_named_alone(api, engineer, dataset):
    client = api(engineer)
    client.patch(URL, {"description": "Prices", "keywords": ["oil"]}, content_type="application/json")
    answer = client.patch(URL, {"card": "# Daily"}, content_type="application/json").json()
    assert (answer["description"], answer["keywords"], answer["card"]) == ("Prices", ["oil"], "# Daily")
    assert client.patch(URL, {"title": "x"}, content_type="application/json").json()["error"]["code"] == "unknown_field"


def test_who_saves_an_older_revision_is_refused_and_sees_both_texts(engineer, actor_for, web, api, dataset):
    client, rest = web(engineer), api(engineer)
    revision = rest.get(URL).json()["revision"]
    assert f'name="revision" value="{revision}"' in client.get(f"{PAGE}/card").content.decode()
    describe_dataset(actor=actor_for(engineer), dataset=dataset, card="of the other")
    answer = client.post(f"{PAGE}/card", {"card": "of my own", "revision": revision})
    content, latest = answer.content.decode(), rest.get(URL).json()["revision"]
    assert answer.status_code == 409
    assert "of my own</textarea>" in content
    assert "readonly>of the other</textarea>" in content
    assert f'name="revision" value="{latest}"' in content
    body = {"card": "by REST", "revision": revision}
    error = rest.patch(URL, body, content_type="application/json").json()["error"]
    assert (error["code"], error["field"], error["limit"]) == ("stale_state", "revision", latest)
    assert client.post(f"{PAGE}/card", {"card": "of both", "revision": latest}).url == PAGE


def test_who_may_not_write_is_refused(viewer, stranger, actor_for, web, dataset):
    with pytest.raises(Refused):
        describe_dataset(actor=actor_for(viewer), dataset=dataset, card="x")
    with pytest.raises((Refused, NotFound)):
        describe_dataset(actor=actor_for(stranger), dataset=dataset, card="x")
    assert web(viewer).get(f"{PAGE}/card").status_code == 403
