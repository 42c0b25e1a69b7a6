"""What somebody typed into the search field, read once: words, a number, a digest, a version of something."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.core.request_values import parse_int

MAX_LETTERS = 200
MIN_HEX_DIGITS = 6  # hex digits that make the beginning of a digest or of a run's id
MAX_ID = 2**63 - 1
NUMBERED = ("job", "pipeline", "approval")  # what is known by a number that the whole plane counts
NUMBER = re.compile(r"#?\s*(\d{1,19})\Z")
OF_KIND = re.compile(r"(\w+)\s*(?:#\s*)?(\d{1,19})\Z")
VERSION = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,49})(?:\s+v|@v?|/v?)(?P<number>\d{1,9})\Z", re.IGNORECASE)
# `lr=0.1`, `params.lr = '0.1'`, `tags.team=vision`: what was said of a run, a model or a version.
PAIR = re.compile(r"(?:(?P<of>param|tag)(?:eter)?s?\.)?(?P<key>[^=]*[^=\s])\s*=\s*(?P<value>[^=\s].*)\Z", re.IGNORECASE)
ALIASED = re.compile(r"(?P<name>[^/:@]{1,256})@(?P<alias>[^/:@\s]{1,255})\Z")
MODEL_URI = "models:/"  # as MLflow's clients write it: models:/wti/3, models:/wti@champion
SHORTENED = re.compile(r"([0-9a-f]{6,})(?:…|\.\.\.)([0-9a-f]{1,8})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    text: str = ""  # as typed, on one line
    words: tuple[str, ...] = ()
    number: int | None = None
    kind: str = ""  # "job" of "job 12"; empty where any kind is meant
    digest: str = ""  # the beginning of a digest or of a run's id, in lower case
    tail: str = ""  # its end, where a shortened digest was pasted from a page
    name: str = ""  # "wti" of "wti v3"
    version: int | None = None  # 3 of "wti v3"
    alias: str = ""  # "champion" of "wti@champion", whose name is in `aliased`
    aliased: str = ""
    key: str = ""  # "lr" of "lr=0.1"
    value: str = ""  # "0.1" of it
    of: str = ""  # "param" or "tag" where only one of them is meant

    @property
    def is_word(self) -> bool:
        """A digest of letters alone may as well be a name: facade, decade."""
        return self.digest.isalpha()


def parse_query(text: str) -> SearchQuery:
    """Whatever was typed; never an error, an empty text asks for nothing."""
    line = " ".join(text.replace("\x00", "").split())[:MAX_LETTERS]
    if not line:
        return SearchQuery()
    kind, number = parse_number(line)
    uri = line.removeprefix(MODEL_URI)
    version = VERSION.match(uri)
    pointed = ALIASED.match(uri) if version is None else None
    pair = PAIR.match(line)
    digest, tail = parse_digest(line)
    return SearchQuery(
        text=line,
        words=tuple(line.split())[:8],
        number=number,
        kind=kind,
        digest=digest,
        tail=tail,
        name=version["name"].lower() if version and not kind else "",
        version=int(version["number"]) if version and not kind else None,
        aliased=pointed["name"] if pointed else "",
        alias=pointed["alias"] if pointed else "",
        key=pair["key"] if pair else "",
        value=pair["value"].strip("'\"") if pair else "",
        of=(pair["of"] or "").lower() if pair else "",
    )


def parse_number(text: str) -> tuple[str, int | None]:
    """("", 12) of `12` and `#12`; ("job", 12) of `job 12`, in English or in the reader's language."""
    if match := NUMBER.match(text):
        return "", parse_id(match[1])
    if match := OF_KIND.match(text):
        word = match[1].lower()
        names = {"job": _("job"), "pipeline": _("pipeline"), "approval": _("approval")}
        for kind in NUMBERED:
            if word in (kind, f"{kind}s", names[kind]):
                return kind, parse_id(match[2])
    return "", None


def parse_id(digits: str) -> int | None:
    """An id the database can be asked for."""
    return parse_int(digits, 1, MAX_ID)


def parse_digest(text: str) -> tuple[str, str]:
    """(beginning, end) of a digest as pages show it: whole, with `sha256:`, grouped by eight, or shortened. The id of a
    logged model is such a beginning behind `m-`."""
    bare = text.lower().removeprefix("sha256:").removeprefix("m-").replace(" ", "")
    if match := SHORTENED.match(bare):
        return match[1], match[2]
    is_hex = MIN_HEX_DIGITS <= len(bare) <= 64 and not set(bare) - set("0123456789abcdef")
    return (bare, "") if is_hex else ("", "")
