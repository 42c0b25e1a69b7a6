"""Records and links out of one page: text in, values out. Fetches nothing."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from parsel import Selector
from w3lib.encoding import html_to_unicode
from w3lib.html import get_base_url

from deepseek.collect.pages_spec import FieldSpec, PageSpec
from deepseek.collect.spec import CollectSpec, FollowSpec
from deepseek.collect.urls import absolute, matches
from deepseek.job import EngineError
from deepseek.messages import N_

MAX_LINKS = 10_000
"""Links that are read from one page; a page that has more is broken or hostile."""
MAX_ITEMS = 100_000
MAX_TEXT = 1_000_000
"""Characters of one value; the rest is cut."""

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:[,' ]\d{3}){1,10}(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
TIMES = {"万": 1e4, "亿": 1e8}
DATE = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[T\s]*(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2}))?)?"
)
VISIBLE = ".//text()[not(ancestor::script or ancestor::style or ancestor::template)]"
Value = str | float | None


@dataclass(slots=True)
class Extracted:
    """What a page gave. `dropped` counts items by the required field that they lack, `unreadable` values by field."""

    items: list[dict[str, Value]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    next: str | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)


def decoded(body: bytes, content_type: str) -> str:
    """The page as text: by its header, BOM or own declaration; undeclared, UTF-8 if it is that, else GB18030."""
    return str(html_to_unicode(content_type or None, body, auto_detect_fun=_guess)[1])


def _guess(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def page_for(spec: CollectSpec, url: str) -> PageSpec | None:
    """The first sort of pages that `url` belongs to."""
    return next((page for page in spec.pages if matches(page.match, url)), None)


def extract(spec: CollectSpec, page: PageSpec | None, url: str, text: str) -> Extracted:
    """Everything that the spec wants from the page at `url`."""
    root = Selector(text=text.replace("\0", ""), type="html")
    found = Extracted()
    if page is not None and page.fields:
        zone = ZoneInfo(spec.time_zone)
        for place in (select(root, page.items) if page.items else [root])[:MAX_ITEMS]:
            _read_item(place, page.fields, zone, found)
    _read_links(root, spec.follow, get_base_url(text, url), found)
    return found


def select(place: Selector, written: str) -> list[Selector]:
    """What the selector fits within `place`, in the order of the page."""
    if not written:
        return [place]
    if written.startswith(("/", "./", "(")):
        return list(place.xpath(f".{written}" if written.startswith("/") else written))
    return list(place.css(written))


def check_selectors(spec: CollectSpec) -> None:
    """Raises EngineError for the first selector that cannot be read."""
    blank = Selector(text="<p></p>", type="html")
    places = [("/follow/next", spec.follow.next), ("/follow/links", spec.follow.links)]
    for number, page in enumerate(spec.pages):
        places += [(f"/pages/{number}/items", page.items), (f"/pages/{number}/wait_for", page.wait_for)]
        places += [(f"/pages/{number}/fields/{index}/select", f.select) for index, f in enumerate(page.fields)]
    for pointer, written in places:
        try:
            select(blank, written)
        except Exception as error:  # noqa: BLE001  cssselect and lxml have no common ancestor for what they raise
            raise EngineError(
                "bad_selector",
                "The selector {written!r} cannot be read: {error}",
                written=written,
                error=error,
                field=pointer,
                value=written,
                limit="a CSS selector, or an XPath that begins with /, ./ or (",
                hint=N_("Try it in a browser's console: document.querySelectorAll('...')."),
            ) from None


# -- items ---------------------------------------------------------------------------------------------------------
def _read_item(place: Selector, fields: list[FieldSpec], zone: ZoneInfo, found: Extracted) -> None:
    item: dict[str, Value] = {}
    for wanted in fields:
        at = next(iter(select(place, wanted.select)), None)
        raw = None if at is None else _raw(at, wanted)
        value = None if raw is None else typed(raw, wanted, zone)
        if value is None and raw is not None:
            found.unreadable[wanted.name] += 1
        if value is None and wanted.required:
            found.dropped[wanted.name] += 1
            return
        item[wanted.name] = value
    found.items.append(item)


def _raw(at: Selector, wanted: FieldSpec) -> str | None:
    """The text that the value is read from; None where there is none."""
    if isinstance(at.root, str):  # ::text, ::attr(...), @name
        text = at.root
    elif wanted.attribute:
        text = at.attrib.get(wanted.attribute, "")
    elif wanted.type == "html":
        text = at.get() or ""
    else:
        text = " ".join(at.xpath(VISIBLE).getall())
    if wanted.type not in ("attr", "html"):
        text = " ".join(text.split())
    return text[:MAX_TEXT] or None


def typed(raw: str, wanted: FieldSpec, zone: ZoneInfo) -> Value:
    """The value that the text stands for: a number, seconds since 1970 for a date, or the text; None if unreadable."""
    if wanted.type == "number":
        return number_in(raw)
    if wanted.type == "date":
        return date_in(raw, wanted.date_format, zone)
    return raw


def number_in(text: str) -> float | None:
    """The first number: 1,234.5, 1 234.5, １２３, 3.2万; None if there is none, or a comma for the point."""
    plain = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    match = NUMBER.search(plain)
    if match is None or re.match(r"[.,]\d", plain[match.end() :]):  # 1,5 or 1.2.3: which number that is, nobody knows
        return None
    value = float(re.sub(r"[,' ]", "", match[0]))
    value *= TIMES.get(plain[match.end() :].lstrip()[:1], 1.0)
    return value if abs(value) < float("inf") else None


def date_in(text: str, written: str, zone: ZoneInfo) -> float | None:
    """Seconds since 1970 in UTC; a time without a zone is one of `zone`. None for what is no date."""
    try:
        moment = datetime.strptime(text, written) if written else _iso(unicodedata.normalize("NFKC", text))
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        match = DATE.search(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    return datetime(year, month, day, hour, minute, second)


# -- links ---------------------------------------------------------------------------------------------------------
def _read_links(root: Selector, follow: FollowSpec, base: str, found: Extracted) -> None:
    if follow.next:
        found.next = next(iter(_hrefs(root, follow.next, base)), None)
    if follow.links:
        wanted = [url for url in _hrefs(root, follow.links, base)[:MAX_LINKS] if followed(follow, url)]
        found.links = list(dict.fromkeys(wanted))


def followed(follow: FollowSpec, url: str) -> bool:
    """Whether the patterns let a link be followed."""
    if any(matches(pattern, url) for pattern in follow.exclude):
        return False
    return not follow.include or any(matches(pattern, url) for pattern in follow.include)


def _hrefs(root: Selector, written: str, base: str) -> list[str]:
    """The addresses that the places hold: their text, their href, or that of the links within them."""
    hrefs: list[str] = []
    for place in select(root, written):
        if isinstance(place.root, str):
            hrefs.append(place.root)
        elif "href" in place.attrib:
            hrefs.append(place.attrib["href"])
        else:
            hrefs += place.xpath(".//a/@href | .//area/@href").getall()
    return [url for href in hrefs if (url := absolute(base, href)) is not None]
