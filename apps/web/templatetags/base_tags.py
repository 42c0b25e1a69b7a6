"""The tags and filters that every page is made of. Registered as builtins: no template loads them."""

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zlib import crc32

from django import template
from django.http import HttpRequest, QueryDict
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context
from django.urls import get_script_prefix
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from apps.core.html import format_html, format_html_join
from apps.core.messages import translate_message, translate_messages
from apps.ml.experiments.figure_labels import format_latency_name, translate_figure_word
from apps.platform.jobs.status import progress_labels as words_of_progress
from apps.web.asset_version import get_asset_version
from apps.web.templatetags import svg_marks
from apps.web.templatetags.breadcrumbs import get_last_part, parse_crumb
from apps.web.templatetags.cached_tags import parse_cached_translate, parse_cached_url
from apps.web.templatetags.formats import (
    NONE,
    as_number,
    format_bytes,
    format_duration,
    format_number,
    format_relative_time,
    format_share,
    format_short_time,
    truncate_text,
)
from apps.web.templatetags.icons import copy, icon, strip_safety
from apps.web.templatetags.joined_lines import parse_joined_lines
from apps.web.templatetags.rail_links import build_rail, find_first_url

register = template.Library()
register.filter("number", format_number)
register.filter("truncatechars", truncate_text, is_safe=True)
register.filter("bytes", format_bytes)
register.filter("share", format_share)
register.filter("duration", format_duration)
register.filter("translate_message", translate_message)
register.filter("translate_messages", translate_messages)
register.filter("figure_word", translate_figure_word)
register.filter("latency_word", format_latency_name)
register.filter("stage_word", words_of_progress.translate_stage)
register.filter("unit_word", words_of_progress.translate_unit)

# state -> (class that carries the colour, icon, word). Every state class has its own icon: shape and word say it first.
STATES: Mapping[str, tuple[str, str, Any]] = {
    "waiting": ("waiting", "waiting", _("Waiting")),
    "queued": ("queued", "queued", _("Queued")),
    "running": ("running", "running", _("Running")),
    "succeeded": ("succeeded", "succeeded", _("Succeeded")),
    "failed": ("failed", "failed", _("Failed")),
    "held": ("held", "held", _("Held")),
    "cancelled": ("cancelled", "cancelled", _("Cancelled")),
    "serving": ("succeeded", "succeeded", _("Serving")),
    "starting": ("running", "running", _("Starting")),
    "degraded": ("held", "held", _("Degraded")),
    "suspended": ("cancelled", "cancelled", _("Suspended")),
    "stopped": ("cancelled", "cancelled", _("Stopped")),
    "healthy": ("succeeded", "succeeded", _("Healthy")),
    "failing": ("failed", "failed", _("Failing")),
    "unknown": ("queued", "note", _("Unknown")),
    "used": ("cancelled", "cancelled", _("Used")),
    "issued": ("succeeded", "succeeded", _("Issued")),
    "assigned": ("running", "running", _("Assigned")),
    "rolled_back": ("failed", "failed", _("Rolled back")),
    "rolling_back": ("running", "running", _("Rolling back")),
    "awaiting_approval": ("held", "held", _("Awaiting approval")),
    "awaiting_decision": ("held", "held", _("Awaiting decision")),
    "completed": ("succeeded", "succeeded", _("Completed")),
    "aborted": ("cancelled", "cancelled", _("Aborted")),
    "installed": ("succeeded", "succeeded", _("Installed")),
    "returning": ("running", "running", _("Returning")),
    "returned": ("cancelled", "cancelled", _("Returned")),
    "stranded": ("failed", "failed", _("Not returned")),
    "go_on": ("succeeded", "succeeded", _("Go on")),
    "hold": ("held", "held", _("Hold")),
    "roll_back": ("failed", "failed", _("Roll back")),
    "superseded": ("cancelled", "cancelled", _("Superseded")),
    "planned": ("queued", "queued", _("Planned")),
    "pruned": ("held", "held", _("Pruned")),
    "scheduled": ("queued", "queued", _("Scheduled")),
    "finished": ("succeeded", "succeeded", _("Finished")),
    "killed": ("cancelled", "cancelled", _("Killed")),
    "not_run": ("cancelled", "cancelled", _("Not run")),
    "cancelling": ("held", "held", _("Being cancelled")),
    "draft": ("queued", "queued", _("Draft")),
    "pending": ("held", "held", _("Pending")),
    "approved": ("succeeded", "succeeded", _("Approved")),
    "rejected": ("failed", "failed", _("Rejected")),
    "refused": ("failed", "failed", _("Refused")),
    "withdrawn": ("cancelled", "cancelled", _("Withdrawn")),
    "expired": ("cancelled", "cancelled", _("Expired")),
    "revoked": ("cancelled", "cancelled", _("Revoked")),
    "void": ("cancelled", "cancelled", _("Void")),
    "retired": ("cancelled", "cancelled", _("Retired")),
    "quarantined": ("held", "held", _("Quarantined")),
    "usable": ("succeeded", "succeeded", _("Usable")),
    "ready": ("succeeded", "succeeded", _("Ready")),
    "sealed": ("succeeded", "succeeded", _("Hashed")),
    "requested": ("queued", "queued", _("Requested")),
    "paused": ("held", "held", _("Paused")),
    "submitted": ("succeeded", "succeeded", _("Submitted")),
    "skipped": ("cancelled", "cancelled", pgettext_lazy("schedule", "Skipped")),
    "missed": ("failed", "failed", pgettext_lazy("schedule", "Missed")),
    "online": ("succeeded", "succeeded", _("Online")),
    "active": ("succeeded", "succeeded", _("Active")),
    "busy": ("running", "running", _("Busy")),
    "draining": ("held", "held", _("Draining")),
    "drained": ("cancelled", "cancelled", _("Drained")),
    "offline": ("failed", "failed", _("Offline")),
    "enabled": ("succeeded", "succeeded", _("Enabled")),
    "disabled": ("failed", "failed", _("Disabled")),
    "sent": ("succeeded", "succeeded", _("Sent")),
    "given_up": ("failed", "failed", _("Given up")),
    "lost": ("failed", "failed", _("Lost")),
    "done": ("succeeded", "succeeded", _("Done")),
    "pass": ("succeeded", "succeeded", _("Pass")),
    "passed": ("succeeded", "succeeded", _("Pass")),
    "fail": ("failed", "failed", _("Fail")),
    "warn": ("held", "held", _("Warning")),
    "warning": ("held", "held", _("Warning")),
    "error": ("failed", "failed", _("Error")),
    "note": ("queued", "note", _("Note")),
    "info": ("queued", "note", _("Note")),
    "success": ("succeeded", "succeeded", _("Done")),
    "debug": ("queued", "note", _("Note")),
}

BREAK_POINTS = re.compile(r"(?<=.[/_])(?=.)")  # where a path or a name may break


def find_state(value: object) -> tuple[str, str, Any]:
    """(class, icon, word not yet translated) of a state; an unknown one is shown as it is written, in quiet colour."""
    name = str(getattr(value, "value", value) or "").lower()
    return STATES.get(name) or ("queued", "queued", str(value or NONE))


def describe_state(value: object) -> tuple[str, str, str]:
    """(class, icon, word) of a state, in the language of the page."""
    css, glyph, word = find_state(value)
    return css, glyph, str(word)


@register.simple_tag
def progress_words() -> str:
    """JSON of the stages and units that read otherwise in the language of the page; for live.js."""
    return json.dumps(words_of_progress.build_label_tables(), ensure_ascii=False)


@register.simple_tag
def state(value: object, label: str = "", *, bare: bool = False) -> SafeString:
    """Badge: icon and word. ``label`` replaces the word, ``bare`` drops the ground."""
    css, glyph, word = describe_state(value)
    return draw_badge(f"state {css} bare" if bare else f"state {css}", glyph, strip_safety(label or word))


@lru_cache(maxsize=512)
def draw_badge(classes: str, glyph: str, word: str) -> SafeString:
    return format_html('<span class="{}">{}<span>{}</span></span>', classes, icon(glyph), word)


@register.filter
def to_plural_count(value: float | None) -> int:
    """What the plural of a number is chosen by: 1.5 processors are several."""
    return math.ceil(value or 0)


@register.filter
def append_unit(value: str, unit: str) -> str:
    """A number and its unit, where it has one."""
    return f"{value} {unit}" if unit else value


@register.filter
def add_breaks(value: object) -> SafeString:
    """A path, a media type or a metric that a narrow column breaks after a slash or underscore, not within a word."""
    return format_html_join(SafeString("<wbr>"), "{}", ((part,) for part in BREAK_POINTS.split(str(value))))


@register.filter
def state_class(value: object) -> str:
    """The class that carries a state's colour, for a note, card or list item."""
    return find_state(value)[0]


@register.filter
def state_icon(value: object) -> str:
    """The name of a state's icon."""
    return find_state(value)[1]


@register.filter
def state_word(value: object) -> str:
    """A state as its badge calls it."""
    return describe_state(value)[2]


@register.simple_tag
def digest(value: object, *, full: bool = False) -> str:
    """A digest as bars, short form and copy button; ``full`` groups all digits by eight, for comparing.

    What is not a digest is shown as text, escaped and without bars.
    """
    if not value:
        return NONE
    hexes = svg_marks.parse_hex(value)
    if not hexes:
        return format_html('<span class="digest"><code>{}</code></span>', value)
    button = copy(
        f"sha256:{hexes}" if len(hexes) == 64 else hexes, gettext("Copy digest %(start)s") % {"start": hexes[:8]}
    )
    if full:
        grouped = " ".join(hexes[i : i + 8] for i in range(0, len(hexes), 8))
        code: SafeString = format_html("<code>{}</code>", grouped)
    else:
        short = f"{hexes[:8]}…{hexes[-4:]}" if len(hexes) > 12 else hexes
        code = format_html('<code title="{}">{}</code>', f"sha256:{hexes}" if len(hexes) == 64 else hexes, short)
    classes = "digest full" if full else "digest"
    return format_html('<span class="{}">{}{}{}</span>', classes, svg_marks.draw_fingerprint(hexes), code, button)


@register.simple_tag
def when(value: datetime | date | None, *, exact: bool = False) -> str:
    """A moment by its distance from now, which the browser keeps up to date; the title holds it in full.

    `exact`: as date and time, for ranges, deadlines and the audit trail; the browser shows it in its own zone.
    """
    if value is None or value == "":
        return NONE
    if not isinstance(value, datetime):
        return format_html('<time datetime="{0}">{0}</time>', value.isoformat() if isinstance(value, date) else value)
    aware = value if timezone.is_aware(value) else timezone.make_aware(value)
    local = timezone.localtime(aware)
    return format_html(
        '<time datetime="{}" data-when="{}" title="{}">{}</time>',
        aware.isoformat(),
        "" if exact else "relative",
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        (format_short_time if exact else format_relative_time)(local, timezone.localtime()),
    )


@register.simple_tag
def gauge(
    value: object,
    low: object,
    high: object,
    limit: object = None,
    *,
    at_least: bool = False,
    start: object = None,
    end: object = None,
    label: str = "",
    state: str = "",
) -> str:
    """A dot on the scale low to high; ``limit`` is the most, or with ``at_least`` the least; start to end is a span."""
    at, bottom, top, bound = (as_number(item) for item in (value, low, high, limit))
    if at is None or bottom is None or top is None:
        return NONE
    is_met = bound is None or (at >= bound if at_least else at <= bound)
    words = gettext("%(value)s, at least %(limit)s") if at_least else gettext("%(value)s, at most %(limit)s")
    ends = as_number(start), as_number(end)
    return svg_marks.draw_gauge(
        at,
        bottom,
        top,
        bound,
        at_least=at_least,
        interval=(ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else None,
        label=label
        or (
            words % {"value": format_number(value), "limit": format_number(limit)}
            if bound is not None
            else format_number(value)
        ),
        state=describe_state(state)[0] if state else ("succeeded" if is_met else "failed"),
    )


@register.simple_tag
def bar(value: object, total: object, *, label: str = "", state: str = "", limit: object = None) -> str:
    """A part of a whole as one bar."""
    part, maximum = as_number(value), as_number(total)
    if part is None or maximum is None:
        return NONE
    words = label or gettext("%(part)s of %(whole)s") % {"part": format_number(value), "whole": format_number(total)}
    return svg_marks.draw_bar(
        part, maximum, label=words, state=describe_state(state)[0] if state else "", limit=as_number(limit)
    )


@register.inclusion_tag("components/histogram.html")
def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    before: Sequence[int] | None = None,
    unit: str = "",
    count_unit: str = "",
    log: bool = False,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """At most 20 bins, values on hover and focus, the same numbers as a table. ``before`` is drawn as an outline."""
    if not counts:
        return {"empty": True}
    pooled, after = svg_marks.merge_bins(edges, counts)
    series = [svg_marks.merge_bins(edges, before)[1], after] if before else [after]
    spans = [
        gettext("%(low)s to %(high)s") % {"low": format_number(a), "high": format_number(b)}
        for a, b in svg_marks.list_bins(pooled)
    ]
    rows = list(zip(spans, *series, strict=True))
    tips = [f"{row[0]}: " + " → ".join(format_number(count) for count in row[1:]) for row in rows]
    top = max(max(values) for values in series)
    svg = svg_marks.draw_histogram(
        spans,
        series,
        tips,
        ticks=[(place, format_number(edge)) for place, edge in svg_marks.choose_ticks(pooled)],
        levels=[(place, format_number(level)) for place, level in svg_marks.build_levels(top, log=log)],
        x_unit=unit,
        y_unit=(count_unit or gettext("rows")) + (gettext(", log scale") if log else ""),
        log=log,
    )
    default = (gettext("before"), gettext("after")) if before else (count_unit or gettext("rows"),)
    shown_names = list(names) or list(default)
    return {
        "svg": svg,
        "rows": rows,
        "names": shown_names,
        "head": [unit or gettext("from, to"), *shown_names],
        "name": f"histogram-{crc32(f'{unit} {edges}'.encode()):x}",  # an id: what was opened in it stays open
    }


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: object) -> str:
    """The address's query with some keys changed; None or "" drops a key. For sort, filter and paging links."""
    request = context.get("request")
    values = request.GET.copy() if request is not None else QueryDict(mutable=True)
    for key, value in changes.items():
        if value is None or value == "":
            values.pop(key, None)
        else:
            values[key] = str(value)
    return f"?{values.urlencode()}" if values else "?"


@register.inclusion_tag("components/sort_head.html", takes_context=True)
def sort_head(
    context: Context, key: str, label: str, *, numeric: bool = False, down: bool = False, param: str = "sort"
) -> dict[str, Any]:
    """A column head whose link sorts by ``key``, then back by ``-key``; ``down``: the other way round.

    The cursor goes: a new order has new pages.
    """
    request = context.get("request")
    now = request.GET.get(param, "") if request is not None else ""
    now = now or str(context.get("sort") or "")
    order = "descending" if now == f"-{key}" else "ascending" if now == key else ""
    target = f"-{key}" if order == "ascending" or (down and not order) else key
    href = query(context, **{param: target, "cursor": None, "page": None})
    return {"label": label, "order": order, "href": href, "numeric": numeric}


@register.inclusion_tag("components/rest_call.html", takes_context=True)
def rest_call(
    context: Context, method: str, path: str, *, body: object = None, open: bool = False, label: str = ""
) -> dict[str, Any]:
    """The same thing as a curl command, under `label` where there are several. Every part is quoted for the shell; the
    token is a variable, never a value.
    """
    request: HttpRequest | None = context.get("request")
    url = request.build_absolute_uri(path) if request is not None else path
    lines = [f"curl -X {shlex.quote(method.upper())} {shlex.quote(url)}", '-H "Authorization: Bearer $TOKEN"']
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=2, default=str)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(text)}"]
    return {"command": " \\\n  ".join(lines), "open": open, "label": label}


register.simple_tag(get_asset_version, name="build")
register.simple_tag(icon)
register.simple_tag(copy)
register.simple_tag(build_rail, name="rail", takes_context=True)
register.tag("crumb", parse_crumb)
register.tag("joinlines", parse_joined_lines)
register.tag("translate", parse_cached_translate)
register.tag("url", parse_cached_url)
register.filter("last_part", get_last_part)


@register.simple_tag
def address(*names: str) -> str:
    """The address of the first url name that exists, else "": a link to what is not there yet is left out."""
    return find_first_url(names, None)


@register.filter
def project_address(project: object) -> str:
    """/p/<slug>/, the address of a project."""
    return f"{get_script_prefix()}p/{getattr(project, 'slug', project)}/"


@register.filter
def element_id(pointer: object) -> str:
    """A JSON pointer as an element id: /steps/0/window -> f-steps-0-window."""
    return "f" + "".join(letter if letter.isalnum() or letter == "_" else "-" for letter in str(pointer))


class WrappedNode(template.Node):
    """Writes its element only around content, so a page that fills no block leaves no empty line."""

    def __init__(self, nodelist: NodeList, parts: Sequence[FilterExpression]) -> None:
        self.nodelist = nodelist
        self.parts = parts

    def render(self, context: Context) -> SafeString:
        inside = self.nodelist.render(context)
        if not inside.strip():
            return SafeString("")
        tag, css, *rest = (str(part.resolve(context)) for part in self.parts)
        label = format_html(' aria-label="{}"', rest[0]) if rest else ""
        return format_html('<{} class="{}"{}>{}</{}>', tag, css, label, inside, tag)


@register.tag
def wrapped(parser: Parser, token: Token) -> WrappedNode:
    """``{% wrapped "p" "answer" %}…{% endwrapped %}``: nothing when the content is blank; a third text labels it."""
    parts = [parser.compile_filter(bit) for bit in token.split_contents()[1:]]
    if len(parts) not in (2, 3):
        raise template.TemplateSyntaxError("wrapped takes an element, a class and perhaps a label")
    nodelist = parser.parse(("endwrapped",))
    parser.delete_first_token()
    return WrappedNode(nodelist, parts)


@register.simple_tag
def gallery_samples() -> dict[str, Any]:
    """Values for the page that shows every component."""
    from apps.web.templatetags.gallery_data import build_samples

    return build_samples()
