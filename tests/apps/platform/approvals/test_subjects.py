"""Registered subjects: each has what approvals call, and a type of an older plane does no harm."""

from __future__ import annotations

import inspect

import pytest

from apps.ml.registry.promotion.subject import PROMOTION
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS, Subject, get_subject_url

METHODS = [name for name, member in inspect.getmembers(Subject, inspect.isfunction) if not name.startswith("_")]


def test_a_subject_has_what_approvals_call():
    assert str(PROMOTION.label)
    assert METHODS == ["address", "carry_out", "current_facts", "page", "summary"]
    for name in METHODS:
        called, declared = (inspect.signature(getattr(of, name)) for of in (PROMOTION, Subject))
        assert list(called.parameters) == list(declared.parameters)[1:]


def test_a_type_of_before_has_no_page_and_voids(ask, decide, approver):
    approval = ask()
    with APPROVAL_SUBJECTS.override({}):
        assert get_subject_url(approval) == ""
        with pytest.raises(Exception) as refusal:
            decide(approver, approval)
    assert refusal.value.code == "approval_void"
