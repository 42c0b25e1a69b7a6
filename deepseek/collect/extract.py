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
from deepseek.collect.urls import matches_pattern, resolve_link
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


def decode_body(body: bytes, content_type: str) -> str:
    """The page as text: by its header, BOM or own declaration; undeclared, UTF-8 if it is that, else GB18030."""
    return str(html_to_unicode(content_type or None, body, auto_detect_fun=_guess)[1])


def _guess(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def find_page_spec(spec: CollectSpec, url: str) -> PageSpec | None:
    """The first sort of pages that `url` belongs to."""
    return next((page for page in spec.pages if matches_pattern(page.match, url)), None)


def extract(spec: CollectSpec, page: PageSpec | None, url: str, text: str) -> Extracted:
    """Everything that the spec wants from the page at `url`."""
    root = Selector(text=text.replace("\0", ""), type="html")
    extracted = Extracted()
    if page is not None and page.fields:
        zone = ZoneInfo(spec.time_zone)
        for place in (select(root, page.items) if page.items else [root])[:MAX_ITEMS]:
            _read_item(place, page.fields, zone, extracted)
    _read_links(root, spec.follow, get_base_url(text, url), extracted)
    return extracted


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
def _read_item(place: Selector, fields: list[FieldSpec], zone: ZoneInfo, extracted: Extracted) -> None:
    item: dict[str, Value] = {}
    for field_spec in fields:
        at = next(iter(select(place, field_spec.select)), None)
        raw = None if at is None else _read_text(at, field_spec)
        value = None if raw is None else parse_value(raw, field_spec, zone)
        if value is None and raw is not None:
            extracted.unreadable[field_spec.name] += 1
        if value is None and field_spec.required:
            extracted.dropped[field_spec.name] += 1
            return
        item[field_spec.name] = value
    extracted.items.append(item)


def _read_text(at: Selector, field: FieldSpec) -> str | None:
    """The text that the value is read from; None where there is none."""
    if isinstance(at.root, str):  # ::text, ::attr(...), @name
        text = at.root
    elif field.attribute:
        text = at.attrib.get(field.attribute, "")
    elif field.type == "html":
        text = at.get() or ""
    else:
        text = " ".join(at.xpath(VISIBLE).getall())
    if field.type not in ("attr", "html"):
        text = " ".join(text.split())
    return text[:MAX_TEXT] or None


def parse_value(raw: str, field: FieldSpec, zone: ZoneInfo) -> Value:
    """The value that the text stands for: a number, seconds since 1970 for a date, or the text; None if unreadable."""
    if field.type == "number":
        return parse_number(raw)
    if field.type == "date":
        return parse_date(raw, field.date_format, zone)
    return raw


def parse_number(text: str) -> float | None:
    """The first number: 1,234.5, 1 234.5, １２３, 3.2万; None if there is none, or a comma for the point."""
    normalized = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    match = NUMBER.search(normalized)
    if match is None or re.match(
        r"[.,]\d", normalized[match.end() :]
    ):  # 1,5 or 1.2.3: which number that is, nobody knows
        return None
    value = float(re.sub(r"[,' ]", "", match[0]))
    value *= TIMES.get(normalized[match.end() :].lstrip()[:1], 1.0)
    return value if abs(value) < float("inf") else None


def parse_date(text: str, written: str, zone: ZoneInfo) -> float | None:
    """Seconds since 1970 in UTC; a time without a zone is one of `zone`. None for what is no date."""
    try:
        moment = datetime.strptime(text, written) if written else _parse_iso_date(unicodedata.normalize("NFKC", text))
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _parse_iso_date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        match = DATE.search(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    return datetime(year, month, day, hour, minute, second)


# -- links ---------------------------------------------------------------------------------------------------------
def _read_links(root: Selector, follow: FollowSpec, base: str, extracted: Extracted) -> None:
    if follow.next:
        extracted.next = next(iter(_list_hrefs(root, follow.next, base)), None)
    if follow.links:
        urls = [url for url in _list_hrefs(root, follow.links, base)[:MAX_LINKS] if is_followed(follow, url)]
        extracted.links = list(dict.fromkeys(urls))


def is_followed(follow: FollowSpec, url: str) -> bool:
    """Whether the patterns let a link be followed."""
    if any(matches_pattern(pattern, url) for pattern in follow.exclude):
        return False
    return not follow.include or any(matches_pattern(pattern, url) for pattern in follow.include)


def _list_hrefs(root: Selector, written: str, base: str) -> list[str]:
    """The addresses that the places hold: their text, their href, or that of the links within them."""
    hrefs: list[str] = []
    for place in select(root, written):
        if isinstance(place.root, str):
            hrefs.append(place.root)
        elif "href" in place.attrib:
            hrefs.append(place.attrib["href"])
        else:
            hrefs += place.xpath(".//a/@href | .//area/@href").getall()
    return [url for href in hrefs if (url := resolve_link(base, href)) is not None]
