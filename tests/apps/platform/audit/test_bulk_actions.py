"""One action for many rows: what each of them became."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import RequestFactory

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.audit.bulk_actions import (
    Done,
    build_result_context,
    get_return_url,
    parse_ids,
    parse_numeric_ids,
    run_bulk_action,
)
from apps.platform.audit.models import AuditRecord, Result

ACTOR = Actor(kind="user", label="somebody", user_id=1)


def posted(**body):
    return RequestFactory().post("/p/demo/jobs/bulk", body)


def outcomes(act, ids=(1, 2, 3)):
    return run_bulk_action(ACTOR, ids, act, request=posted(), name=lambda pk: f"#{pk}", page=lambda pk: f"/jobs/{pk}")


def test_one_that_fails_holds_up_none_of_the_others():
    def act(pk):
        if pk == 2:
            raise Conflict("It has ended.", code="already_ended", hint="Leave it.")
        return Done(f"job {pk}", "/x", "Cancelled")

    found = outcomes(act)
    assert [(one.name, one.done, one.text) for one in found] == [
        ("job 1", True, "Cancelled"),
        ("#2", False, "It has ended."),
        ("job 3", True, "Cancelled"),
    ]
    assert (found[1].hint, found[1].code, found[1].url) == ("Leave it.", "already_ended", "/jobs/2")
    context = build_result_context(found, title="Cancel", back="/")
    assert (context["done"], context["refused"], context["outcomes"][0].name) == (2, 1, "#2")


def test_what_is_not_there_is_no_link():
    def act(pk):
        raise NotFound("No job.")

    assert [one.url for one in outcomes(act)] == ["", "", ""]


def test_a_refusal_is_recorded(db):
    def act(pk):
        raise Refused("You may not.", action="job.cancel", object_type="job", object_id=pk)

    outcomes(act, ids=[7])
    row = AuditRecord.objects.get()
    assert (row.action, row.object_id, row.result) == ("job.cancel", "7", Result.REFUSED)


def test_a_busy_database_is_said_of_the_row_that_met_it():
    def act(pk):
        raise OperationalError("database is locked")

    assert outcomes(act, ids=[1])[0].code == "database_busy"


def test_nothing_is_tried_any_more_while_the_database_is_away():
    tried = []

    def act(pk):
        tried.append(pk)
        if pk == 2:
            raise OperationalError("connection refused")
        return Done(f"job {pk}", "/x", "Cancelled")

    found = outcomes(act, ids=[1, 2, 3, 4])
    assert tried == [1, 2]
    assert [one.code for one in found] == ["", "database_unreachable", "database_unreachable", "database_unreachable"]


def test_a_defect_is_said_of_its_row_and_logged(caplog):
    found = outcomes(lambda pk: Done(f"job {pk}", "/x", f"{1 / (pk - 2)}"))
    assert [(one.name, one.done, one.code) for one in found] == [
        ("job 1", True, ""),
        ("#2", False, "server_error"),
        ("job 3", True, ""),
    ]
    assert "request id" in found[1].hint
    assert "ZeroDivisionError" in caplog.text


def test_rows_are_named_once_each():
    assert parse_ids(posted(ids=["3", "1", "3"])) == ["3", "1"]
    assert parse_numeric_ids(posted(ids=["3", "1"])) == [3, 1]


@pytest.mark.parametrize("ids", [[], [str(n) for n in range(201)]])
def test_none_and_too_many(ids):
    with pytest.raises(Invalid) as caught:
        parse_ids(posted(ids=ids))
    assert caught.value.field == "ids"


@pytest.mark.parametrize("one", ["x", "-1", str(2**63), "²", ""])
def test_what_is_no_number(one):
    with pytest.raises(Invalid):
        parse_numeric_ids(posted(ids=[one]))


@pytest.mark.parametrize(
    ("back", "where"),
    [("/p/demo/jobs?state=failed", "/p/demo/jobs?state=failed"), ("//evil", "/"), ("http://evil/", "/"), ("", "/")],
)
def test_the_way_back_is_on_this_host(back, where):
    assert get_return_url(posted(back=back), "/") == where
