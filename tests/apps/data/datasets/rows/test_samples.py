"""The tab of images with their labels, and of texts with what is marked in them."""

import pytest

from apps.data.datasets.rows.samples import parse_spans, render_spans
from apps.data.datasets.versions.manifest import CSV, JSON_LINES
from apps.data.datasets.versions.masked_columns import MASKED_COLUMNS
from apps.data.datasets.versions.registration import add_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_rows")]
PAGE = "/p/demo/data/wti-daily/1/samples"


@pytest.fixture
def text_version(added, held):
    lines = b'{"text": "Anna <b>saw</b> it", "spans": [{"start": 0, "end": 4, "label": "PERSON"}], "label": "seen"}\n'
    more = b'{"text": "nothing here"}\n' * 30
    return added({"texts.jsonl": held(lines + more)}, media_type=JSON_LINES, rows=31)[0]


@pytest.fixture
def image_version(worker_actor, dataset, held):
    table = held(b"path,label,split,width,height\na.png,crack,train,2,2\nb.png,dent,test,2,2\n")
    files = [("images.csv", table, CSV), *((f"{name}.png", held(name.encode()), "image/png") for name in "ab")]
    values = {"rows": 2, "columns": [], "script": "ingest", "params": {"images": {"classes": {"crack": 1, "dent": 1}}}}
    return add_version(actor=worker_actor, dataset=dataset, files=files, media_type=CSV, **values)[0]


def test_texts_have_their_spans_marked_and_are_escaped(engineer, web, text_version):
    client = web(engineer)
    content = client.get(PAGE).content.decode()
    assert "<mark>Anna<sub>PERSON</sub></mark> &lt;b&gt;saw&lt;/b&gt; it" in content
    assert content.count('class="marked"') == 25
    assert "?after=25" in content
    assert client.get(PAGE, {"q": "anna"}).content.decode().count('class="marked"') == 1


def test_images_are_filtered_by_label(engineer, web, image_version):
    content = web(engineer).get(PAGE, {"label": "dent"}).content.decode()
    assert 'alt="b.png"' in content
    assert 'alt="a.png"' not in content


def test_images_of_personal_data_are_not_shown(engineer, web, image_version):
    with MASKED_COLUMNS.override({"test": lambda version: {"name"}}):
        content = web(engineer).get(PAGE).content.decode()
    assert 'alt="a.png"' not in content
    assert "Images are hidden" in content


def test_hidden_texts_are_not_told(engineer, web, text_version):
    with MASKED_COLUMNS.override({"test": lambda version: {"text"}}):
        assert "Anna" not in web(engineer).get(PAGE).content.decode()


def test_who_may_not_see_it_gets_nothing(stranger, web, text_version):
    assert web(stranger).get(PAGE).status_code == 404


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '[{"start": 3}]', '[{"start": 5, "end": 2, "label": "x"}]'])
def test_spans_that_are_none_are_left_out(text):
    assert parse_spans(text) == []


def test_of_overlapping_spans_the_first_is_drawn():
    assert render_spans("abcdef", [(0, 3, "A"), (2, 5, "B"), (4, 99, "C")]) == "<mark>abc<sub>A</sub></mark>def"
