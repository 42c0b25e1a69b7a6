"""What a job calls its stages and counts, in the language of the page."""

from __future__ import annotations

import re
from pathlib import Path

from django.template import engines
from django.utils.translation import override

from apps.platform.jobs.status.progress_labels import STAGES, UNITS, build_label_tables, translate_stage, translate_unit

ENGINE = Path(__file__).parents[5] / "deepseek"
REPORT = re.compile(r'\.progress\((?:[^()]|\([^()]*\))*?"(\w+)", stage="(\w+)"\)')


def test_every_stage_and_unit_of_the_engine_is_known():
    found = [match for path in ENGINE.rglob("*.py") for match in REPORT.findall(path.read_text())]
    assert len(found) > 20
    assert {unit for unit, _ in found} <= set(UNITS)
    assert {stage for _, stage in found} <= set(STAGES)


def test_they_are_told_in_the_language_of_the_page():
    assert (translate_stage("measure"), translate_unit("rows")) == ("measure", "rows")
    with override("zh-hans"):
        assert (translate_stage("measure"), translate_unit("rows")) == ("测量", "行")


def test_what_nobody_knows_stays_as_it_was_reported():
    with override("zh-hans"):
        assert (translate_stage("fold"), translate_unit(None), translate_stage("")) == ("fold", "", "")


def test_a_script_gets_only_what_reads_otherwise():
    assert build_label_tables() == {"stage": {}, "unit": {}}
    with override("zh-hans"):
        assert build_label_tables()["stage"]["read"] == "读取"


def test_a_page_draws_them_so():
    source = '{% include "components/progress.html" with stage="train" unit="steps" done=1 total=2 rate=3 %}'
    template = engines["django"].from_string(source)
    with override("zh-hans"):
        page = template.render()
    assert "训练" in page
    assert "/秒" in page
    assert "&quot;train&quot;: &quot;训练&quot;" in page
