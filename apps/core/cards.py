"""The page that edits a card: what people say about an object, in Markdown, with or without other texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core.errors import Invalid, StaleState
from apps.core.markdown import render_markdown
from apps.core.revisions import compute_revision


@dataclass(frozen=True, kw_only=True)
class CardField:
    """One text of a card. The one in Markdown is a text area and has the preview."""

    name: str
    label: str
    doc: str
    limit: int
    is_markdown: bool = False


@dataclass(frozen=True, kw_only=True)
class CardForm:
    """A card to edit: the object's name, where it stands, its texts (one in Markdown), how they are read and saved.

    `save` takes the texts and the revision that they were made from, and raises Invalid or StaleState.
    """

    name: str
    nav: str
    list_label: str
    list_address: str
    address: str
    fields: Sequence[CardField]
    read: Callable[[], Mapping[str, str]]
    save: Callable[[Mapping[str, str], str], object]


def edit_card(request: HttpRequest, form: CardForm) -> HttpResponse:
    """GET shows the form; POST saves it, or with `op=preview` renders the Markdown.

    Where somebody else saved meanwhile, the answer is 409 with their texts beside those that were typed. Its form has
    the latest revision, so saving it again replaces what the person has then seen.
    """
    values = current = form.read()
    revision = compute_revision(current)
    wrong: Invalid | StaleState | None = None
    if request.method == "POST":
        values = {field.name: clean_text(request.POST.get(field.name, "")) for field in form.fields}
        revision = request.POST.get("revision", "")
        try:
            if request.POST.get("op") != "preview":
                form.save(values, revision)
                messages.success(request, _("The card of %(name)s is saved.") % {"name": form.name})
                return redirect(form.address)
        except (Invalid, StaleState) as error:
            wrong = error
    is_stale = isinstance(wrong, StaleState)
    if is_stale:
        current = form.read()
        revision = compute_revision(current)
    context: dict[str, Any] = {
        "nav": form.nav,
        "form": form,
        "fields": [build_field(field, values, current, wrong) for field in form.fields],
        "revision": revision,
        "wrong": wrong,
        "is_stale": is_stale,
        "preview": next(render_markdown(values[field.name]) for field in form.fields if field.is_markdown),
    }
    return render(request, "components/card_edit.html", context, status=wrong.status if wrong else 200)


def build_field(
    field: CardField, values: Mapping[str, str], current: Mapping[str, str], wrong: Invalid | StaleState | None
) -> dict[str, Any]:
    """A field as the template shows it: with what was typed, its error, and what somebody else saved."""
    typed, saved = values[field.name], current[field.name]
    return {
        "field": field,
        "value": typed,
        "error": wrong if wrong and wrong.field == field.name else None,
        "saved": saved if isinstance(wrong, StaleState) and saved != typed else None,
    }


def clean_text(text: str) -> str:
    """The text with the line ends of the plane, without blanks around it; uncut, so that `save` refuses a long one."""
    return text.replace("\r\n", "\n").strip()
