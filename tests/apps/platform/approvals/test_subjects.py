"""The table of subjects in the settings: every name loads, and has what approvals call."""

from __future__ import annotations

import inspect

import pytest

from apps.platform.approvals.subjects import Subject, get_subject, get_subject_url
from controlplane import settings as real

METHODS = [name for name, member in inspect.getmembers(Subject, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("subject_type", real.APPROVAL_SUBJECTS)
def test_every_name_loads_and_has_what_approvals_call(settings, subject_type):
    settings.APPROVAL_SUBJECTS = real.APPROVAL_SUBJECTS
    found = get_subject(subject_type)
    assert str(found.label)
    assert METHODS == ["address", "carry_out", "current_facts", "page", "summary"]
    for name in METHODS:
        called, declared = (inspect.signature(getattr(of, name)) for of in (found, Subject))
        assert list(called.parameters) == list(declared.parameters)[1:]


def test_a_type_that_the_settings_lack_is_named():
    with pytest.raises(LookupError, match="rollout"):
        get_subject("rollout")


def test_a_type_of_before_has_no_page_and_voids(ask, decide, approver, settings):
    approval = ask()
    settings.APPROVAL_SUBJECTS = {}
    assert get_subject_url(approval) == ""
    with pytest.raises(Exception) as refusal:
        decide(approver, approval)
    assert refusal.value.code == "approval_void"
