"""Why a job was cancelled is shown as it was typed."""

import pytest
from django.template.loader import render_to_string
from django.utils.translation import override

TYPED = "Choose another."  # a message of the plane as well


@pytest.mark.parametrize("template", ["components/timeline.html", "jobs/attempts.html"])
def test_a_typed_reason_is_not_translated(template):
    events, attempts = [{"state": "cancelled", "text": TYPED}], [{"number": 1, "why": TYPED}]
    job = {"attempts_used": 1, "max_attempts": 3}
    with override("zh-hans"):
        assert TYPED in render_to_string(template, {"events": events, "attempts": attempts, "job": job})
