"""The card of a model, in Markdown, and who may edit it."""

import pytest

from apps.core.revisions import compute_revision
from apps.ml.registry.services import create_model
from apps.ml.registry.services.models import read_texts
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/models/oil"


@pytest.fixture
def model(project, engineer, actor_for):
    return create_model(actor=actor_for(engineer), project=project, name="oil")


def test_a_card_is_saved_and_rendered_without_html(engineer, web, model):
    client = web(engineer)
    form = {"description": "**Prices** <b>x</b>", "revision": compute_revision(read_texts(model))}
    assert client.post(f"{PAGE}/card", form).url == PAGE
    assert "<strong>Prices</strong> &lt;b&gt;x&lt;/b&gt;" in client.get(PAGE).content.decode()


def test_a_preview_saves_nothing_and_a_long_text_names_its_limit(engineer, web, model):
    client = web(engineer)
    assert "<em>new</em>" in client.post(f"{PAGE}/card", {"description": "*new*", "op": "preview"}).content.decode()
    for text in ("x" * 5001, "x" * 5000 + "\nthe end"):
        form = {"description": text, "revision": compute_revision(read_texts(model))}
        assert client.post(f"{PAGE}/card", form).status_code == 422
    model.refresh_from_db()
    assert model.description == ""


def test_an_older_revision_is_refused_on_the_page_and_by_rest(engineer, web, api, model):
    client, rest = web(engineer), api(engineer)
    url = "/api/v1/projects/demo/models/oil"
    revision = rest.get(url).json()["revision"]
    body = {"description": "of the other", "revision": revision}
    assert rest.patch(url, body, content_type="application/json").json()["description"] == "of the other"
    assert rest.patch(url, {**body, "description": "late"}, content_type="application/json").status_code == 409
    answer = client.post(f"{PAGE}/card", {"description": "of my own", "revision": revision})
    assert (answer.status_code, "readonly>of the other</textarea>" in answer.content.decode()) == (409, True)


def test_an_unchanged_text_changes_nothing(engineer, api, model):
    rest, url, found = api(engineer), "/api/v1/projects/demo/models/oil", []
    for text in ("prices", "prices", ""):
        assert rest.patch(url, {"description": text}, content_type="application/json").json()["description"] == text
        model.refresh_from_db()
        found.append((AuditRecord.objects.filter(action="model.describe").count(), model.updated_at))
    assert [count for count, _at in found] == [1, 1, 2]
    assert found[0] == found[1]


def test_who_may_not_write_is_refused(viewer, stranger, web, api, model):
    body = {"description": "x"}
    assert (
        api(viewer).patch("/api/v1/projects/demo/models/oil", body, content_type="application/json").status_code == 403
    )
    assert web(viewer).get(f"{PAGE}/card").status_code == 403
    assert web(stranger).get(f"{PAGE}/card").status_code == 404
