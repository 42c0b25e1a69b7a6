"""One action for many rows of a list: each goes through the service by itself, and each may fail by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, PlaneError, Refused
from apps.core.lists.pages import MAX_LIMIT
from apps.core.request_values import parse_int
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal
from deepseek.messages import N_, Message

log = logging.getLogger(__name__)
REASON_LIMIT = 500
AWAY = ("database_unreachable", "database_read_only", "home_read_only", "storage_full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one row: `text` says it, or why not with `hint` as the way out."""

    name: str
    done: bool
    text: str
    hint: str = ""
    code: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What a row is called, where it stands and what was done to it."""

    name: str
    url: str
    text: str


def parse_ids(request: HttpRequest) -> list[str]:
    """The rows that were selected, each once, in the order of the page. Invalid for none and for more than a page."""
    ids = list(dict.fromkeys(raw_id[:64] for raw_id in request.POST.getlist("ids")))
    if not ids:
        raise Invalid("No row is selected.", field="ids", limit=f"1..{MAX_LIMIT}", hint=N_("Go back and select some."))
    if len(ids) > MAX_LIMIT:
        raise Invalid(
            "{count} rows are selected.",
            count=len(ids),
            field="ids",
            limit=MAX_LIMIT,
            hint=N_("Select those of one page."),
        )
    return ids


def parse_numeric_ids(request: HttpRequest) -> list[int]:
    """`parse_ids` where rows are named by numbers."""
    ids = []
    for text in parse_ids(request):
        if (number := parse_int(text)) is None:
            raise Invalid("{text!r} is no number.", text=text[:40], field="ids", limit="1..2^63-1")
        ids.append(number)
    return ids


def run_bulk_action(
    actor: Actor,
    ids: Sequence[Any],
    act: Callable[[Any], Done],
    *,
    request: HttpRequest,
    name: Callable[[Any], str],
    page: Callable[[Any], str] = lambda one: "",
) -> list[Outcome]:
    """`act` on every row, in order. A refusal is recorded as one; a defect is logged, and said of its row alone.

    Where the database or the disk is away, the rows behind are not tried: each would wait for it anew.
    `name`, `page`: what a row that was refused is called, and where it stands.
    """
    outcomes = []
    away: PlaneError | None = None
    for row_id in ids:
        try:
            if away is not None:
                raise away
            done = act(row_id)
        except Exception as error:
            failure = error if isinstance(error, PlaneError) else translate_fault(error)
            if failure is None:
                log.exception("A defect in row %s of a bulk action", row_id)
                failure = build_defect_error(actor)
            away = failure if failure.code in AWAY else None
            if isinstance(failure, Refused):
                record_refusal(actor, failure, request)
            error_fields = {"text": failure.message, "hint": failure.hint or "", "code": failure.code}
            url = "" if isinstance(failure, NotFound) else page(row_id)
            outcomes.append(Outcome(name=name(row_id), url=url, done=False, **error_fields))
        else:
            outcomes.append(Outcome(name=done.name, url=done.url, done=True, text=done.text))
    return outcomes


def build_defect_error(actor: Actor) -> PlaneError:
    """What the reader may know of a defect: the id under which the log tells more. The other rows stand as they are."""
    return PlaneError(
        "The plane failed on this request; the operator's log holds the reason.",
        code="server_error",
        hint=Message("Give the operator this request id: {request_id}.", request_id=actor.request_id),
    )


def get_return_url(request: HttpRequest, otherwise: str) -> str:
    """The list as it was filtered when the rows were selected, if the form says where; never another host."""
    target = request.POST.get("back", "")[:2000]
    return target if target.startswith("/") and url_has_allowed_host_and_scheme(target, None) else otherwise


def build_result_context(outcomes: Sequence[Outcome], *, title: str, back: str, calls: str = "") -> dict[str, Any]:
    """For templates/components/bulk_result.html. `calls`: the same as a loop of REST calls."""
    done = sum(outcome.done for outcome in outcomes)
    return {
        "outcomes": sorted(outcomes, key=lambda outcome: outcome.done),
        "done": done,
        "refused": len(outcomes) - done,
        "bulk_title": title,
        "back": back,
        "calls": calls,
    }
