"""Deciding a disputed task by what was chosen of it: spans, relations and fields."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from apps.ml.labelling import services
from tests.apps.ml.labelling.conftest import span
from tests.apps.ml.labelling.test_results import LABELS, RELATIONS

pytest.importorskip("label_studio_sdk")
pytestmark = pytest.mark.django_db
RULE = {"name": "marked", "condition": "count(PERSON) > 0"}
FIELDS = [{"name": "risk", "choices": ["low", "high"]}, {"name": "share", "kind": "number"}]
ENDS = {"type": "relation", "from_id": "0-3-PERSON", "to_id": "13-17-ORG", "labels": ["works_for"]}
DOCUMENT = {"level": "domain", "data": "text", "labels": LABELS, "relations": RELATIONS, "fields": FIELDS}


@pytest.fixture
def disputed(create, actor, project, drive, mark):
    services.save_schema(actor=actor, project=project, name="rules", document={**DOCUMENT, "rules": [RULE]})
    labelling = create(name="rules", schema="rules:v1", groups=["one", "two"], overlap=1.0)
    drive()
    risk = {"id": "c", "from_name": "risk", "to_name": "text", "type": "choices", "value": {"choices": ["high"]}}
    mark(labelling, 1, 0, [span(0, 3), span(13, 17, "ORG"), ENDS, risk])
    mark(labelling, 2, 0, [span(0, 3), risk])
    drive()
    return labelling.tasks.get(number=0)


@pytest.fixture
def decide(disputed, web, engineer, project):
    """decide(**chosen) -> the task, and what the page said."""

    def post(**chosen):
        address = reverse("labelling:task", args=[project.slug, disputed.labelling_id, 1])
        answer = web(engineer).post(address, chosen)
        disputed.refresh_from_db()
        return disputed, [str(message) for message in get_messages(answer.wsgi_request)]

    return post


def test_relations_and_fields_stay_with_the_spans(decide):
    chosen = {"span": ["0:3:PERSON", "13:17:ORG"], "relation": "0:3:PERSON|13:17:ORG|works_for"}
    task, _said = decide(**chosen, **{"field-risk": "high", "field-share": "0.5"})
    assert task.state == "adjudicated"
    assert task.marks["relations"] == [{"source": 0, "target": 1, "type": "works_for"}]
    assert task.marks["fields"] == {"risk": "high", "share": 0.5}


def test_a_relation_needs_its_entities_and_a_number_digits(decide):
    task, _said = decide(span="0:3:PERSON", relation="0:3:PERSON|13:17:ORG|works_for")
    assert task.state == "disputed"
    task, _said = decide(span="0:3:PERSON", **{"field-share": "nan"})
    assert task.state == "disputed"


def test_the_page_offers_what_annotators_marked(disputed, web, engineer, project):
    page = web(engineer).get(reverse("labelling:task", args=[project.slug, disputed.labelling_id, 1])).context
    assert [(row["value"], row["is_chosen"]) for row in page["spans"]] == [
        ("0:3:PERSON", True),
        ("13:17:ORG", False),
    ]
    assert [row["is_chosen"] for row in page["relations"]] == [False]
    assert [(row["name"], row["value"]) for row in page["fields"]] == [("field-risk", "high"), ("field-share", "")]
