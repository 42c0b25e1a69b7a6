"""The card of a model, in Markdown, and who may edit it."""

import pytest

from apps.ml.registry.services import create_model

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/models/oil"


@pytest.fixture
def model(project, engineer, actor_for):
    return create_model(actor=actor_for(engineer), project=project, name="oil")


def test_a_card_is_saved_and_rendered_without_html(engineer, web, model):
    client = web(engineer)
    assert client.post(f"{PAGE}/card", {"description": "**Prices** <b>x</b>"}).url == PAGE
    assert "<strong>Prices</strong> &lt;b&gt;x&lt;/b&gt;" in client.get(PAGE).content.decode()


def test_a_preview_saves_nothing_and_a_long_text_names_its_limit(engineer, web, model):
    client = web(engineer)
    assert "<em>new</em>" in client.post(f"{PAGE}/card", {"description": "*new*", "op": "preview"}).content.decode()
    assert client.post(f"{PAGE}/card", {"description": "x" * 5001}).status_code == 422
    model.refresh_from_db()
    assert model.description == ""


def test_who_may_not_write_is_refused(viewer, stranger, web, model):
    assert web(viewer).get(f"{PAGE}/card").status_code == 403
    assert web(stranger).get(f"{PAGE}/card").status_code == 404
