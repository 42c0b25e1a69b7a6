"""What devices report, parsed: the tables of outcomes, and garbage."""

from __future__ import annotations

import json

import pytest

from apps.gateways.hawkbit.feedback import (
    MAX_MESSAGE_CHARS,
    MAX_MESSAGES,
    ConfigData,
    Outcome,
    parse_body,
    parse_config_data,
    parse_feedback,
)
from apps.gateways.hawkbit.responses import DdiError

EXECUTIONS = ("closed", "canceled", "rejected", "download", "downloaded", "proceeding", "scheduled", "resumed")
ON_DEPLOYMENT = {  # execution -> outcome for finished = success, failure, none
    "closed": "succeeded failed succeeded",
    "canceled": "cancelled cancelled cancelled",
    "rejected": "warning warning warning",
    "download": "downloading downloading downloading",
    "downloaded": "downloaded downloaded downloaded",
    "proceeding": "running running running",
    "scheduled": "running running running",
    "resumed": "running running running",
}
ON_CANCEL = dict.fromkeys(EXECUTIONS, "running running running") | {
    "closed": "cancelled cancel_rejected cancelled",
    "rejected": "cancel_rejected cancel_rejected cancel_rejected",
    "canceled": "warning warning warning",
}


def report(execution="proceeding", finished="none", **more):
    result = {"finished": finished} | more.pop("result", {})
    return {"id": "7", "status": {"execution": execution, "result": result} | more}


def test_outcomes_of_every_cell():
    wrong = {}
    for name, table in (("on_deployment", ON_DEPLOYMENT), ("on_cancel", ON_CANCEL)):
        for execution in EXECUTIONS:
            for finished, outcome in zip(("success", "failure", "none"), table[execution].split(), strict=True):
                found = getattr(parse_feedback(report(execution, finished)), name)
                if found is not Outcome(outcome):
                    wrong[name, execution, finished] = found
    assert wrong == {}


def test_progress_is_a_share_or_nothing():
    cells = [
        ({"cnt": 1, "of": 4}, 0.25),
        ({"cnt": 9, "of": 4}, 1.0),
        ({"cnt": -1, "of": 4}, 0.0),
        ({"cnt": 0, "of": 0}, None),  # as swupdate sends with log lines
        ({"cnt": "1", "of": 4}, None),
        ({"cnt": True, "of": 4}, None),
        ({"of": 4}, None),
        ("half", None),
        (None, None),
    ]
    wrong = [
        (progress, found)
        for progress, expected in cells
        if (found := parse_feedback(report(result={"progress": progress})).progress) != expected
    ]
    assert wrong == []


def test_messages_are_cut_and_counted():
    found = parse_feedback(report(details=["a\x00b", None, 3, "x" * 9000])).messages
    assert found == ("ab", "3", "x" * MAX_MESSAGE_CHARS)
    many = parse_feedback(report(details=[str(number) for number in range(2000)])).messages
    assert len(many) == MAX_MESSAGES
    assert many[-1] == "1951 more messages were not kept."
    assert parse_feedback(report(details="one")).messages == ("one",)


def test_code_of_a_device():
    cells = {200: 200, -3: -3, 2**40: None, "200": None, True: None, 1.5: None}
    assert {code: parse_feedback(report(code=code)).code for code in cells} == cells


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": None},
        {"status": []},
        {"status": {}},
        {"status": {"execution": "Closed", "result": {"finished": "none"}}},
        {"status": {"execution": "closed", "result": {"finished": "perhaps"}}},
        {"status": {"execution": ["closed"]}},
        {"status": {"execution": "closed", "result": "none"}},
        {"status": {"execution": "closed", "result": {"finished": {}}}},
        {"status": {"execution": "closed", "details": [["nested"]]}},
    ],
    ids=json.dumps,
)
def test_feedback_that_cannot_be_understood(body):
    with pytest.raises(DdiError) as refusal:
        parse_feedback(body)
    assert refusal.value.status == 400


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 3000, b'{"a": NaN}'])
def test_bodies_that_are_no_json_object(data):
    with pytest.raises(DdiError) as refusal:
        parse_body(data)
    assert refusal.value.status == 400


def test_attributes_are_merged_replaced_or_removed():
    present = {"a": "1", "b": "2"}
    sent = {"b": "3", "c": "4"}
    cells = {
        "merge": {"a": "1", "b": "3", "c": "4"},
        "replace": {"b": "3", "c": "4"},
        "remove": {"a": "1"},
    }
    assert {mode: parse_config_data({"data": sent, "mode": mode}).apply_to(present) for mode in cells} == cells
    assert parse_config_data({"data": {"n": 1, "x": None}}) == ConfigData({"n": "1", "x": ""}, "merge")
    assert parse_config_data({"data": {"a\x00": "b\nc\t"}}) == ConfigData({"a": "b c"}, "merge")


def test_attributes_that_are_refused():
    cells = [{}, {"data": []}, {"data": {"a": {}}}, {"data": {" ": "b"}}, {"data": {"a": "b"}, "mode": "add"}]
    cells += [{"data": {"k" * 129: "v"}}, {"data": {"k": "v" * 129}}]
    for body in cells:
        with pytest.raises(DdiError) as refusal:
            parse_config_data(body)
        assert refusal.value.status == 400, body
    with pytest.raises(DdiError) as refusal:
        parse_config_data({"data": {str(number): "" for number in range(60)}}).apply_to(
            {f"x{number}": "" for number in range(60)}
        )
    assert refusal.value.status == 403
