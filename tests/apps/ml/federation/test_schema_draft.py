"""The data schema that a dataset version suggests, in the form of a new study."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.urls import reverse

from apps.ml.federation.schema_draft import draft_measured, draft_number, draft_schema
from deepseek.federated.spec import DataSchema

pytestmark = pytest.mark.django_db
TABLE = "age,sex,note,disease\n29,f,a b,no\n77,m,,yes\n41,f,c d,no\n"


def test_numbers_are_rounded_outwards():
    cases = {(29, 77): (20, 80), (0.12, 0.94): (0.1, 1), (-3, -3): (-4, -2), (0, 0): (-1, 1), (5, 1005): (0, 2000)}
    cases |= {(30, 80): (20, 90), (0, 1): (-1, 2)}  # no bound is a value of somebody
    drafts = {ends: draft_number("x", *ends) for ends in cases}
    assert {ends: (draft["low"], draft["high"]) for ends, draft in drafts.items()} == cases
    assert all(draft["low"] < low and high < draft["high"] for (low, high), draft in drafts.items())
    odd = [(0, float("inf")), (-1e308, 1e308), (0, 5e-324), (1e-20, 2e-20), (1e15, 1e15 + 0.1)]
    assert [draft_number("x", *ends) for ends in odd] == [None] * len(odd)


def test_a_measured_column_is_a_number_or_a_category():
    numeric = {"min": 0, "max": 1}
    flag = {"name": "ill", "values": [["0", 5], ["1", 3]], "numeric": numeric}
    assert draft_measured(flag)["categories"] == ["0", "1"]
    assert draft_measured({**flag, "values": None})["high"] == 2
    assert draft_measured({"name": "text", "values": None, "numeric": None}) is None


def test_the_form_takes_the_columns_of_a_version(web, engineer, actor, project, add_table):
    version = add_table(actor, project, TABLE)
    schema = draft_schema(actor, version)
    assert (schema["target"], [column["name"] for column in schema["columns"]]) == (
        "disease",
        ["age", "sex", "note", "disease"],
    )
    page = reverse("federation:new", args=[project.slug])
    shown = web(engineer).get(page, {"data": "patients:v1"})
    text = unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", shown.text, re.S)[1])
    assert DataSchema.model_validate(json.loads(text)).target == "disease"
    assert "patients:v1" in web(engineer).get(page).text
    for wrong in ("patients:v9", "patients", "none:v1"):
        refused = web(engineer).get(page, {"data": wrong})
        assert (refused.status_code, 'id="sv-e"' in refused.text) == (422, True)
