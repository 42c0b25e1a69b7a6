"""What somebody typed into the search field, read once: words, a number, a digest, a version of something."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

LONGEST = 200
HEX_LEAST = 6  # hex digits that make the beginning of a digest or of a run's id
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
class Asked:
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


def read(text: str) -> Asked:
    """Whatever was typed; never an error, an empty text asks for nothing."""
    said = " ".join(text.replace("\x00", "").split())[:LONGEST]
    if not said:
        return Asked()
    kind, number = numbered(said)
    uri = said.removeprefix(MODEL_URI)
    found = VERSION.match(uri)
    pointed = ALIASED.match(uri) if found is None else None
    pair = PAIR.match(said)
    digest, tail = digest_in(said)
    return Asked(
        text=said,
        words=tuple(said.split())[:8],
        number=number,
        kind=kind,
        digest=digest,
        tail=tail,
        name=found["name"].lower() if found and not kind else "",
        version=int(found["number"]) if found and not kind else None,
        aliased=pointed["name"] if pointed else "",
        alias=pointed["alias"] if pointed else "",
        key=pair["key"] if pair else "",
        value=pair["value"].strip("'\"") if pair else "",
        of=(pair["of"] or "").lower() if pair else "",
    )


def numbered(said: str) -> tuple[str, int | None]:
    """("", 12) of `12` and `#12`; ("job", 12) of `job 12`, in English or in the reader's language."""
    if found := NUMBER.match(said):
        return "", within(found[1])
    if found := OF_KIND.match(said):
        word = found[1].lower()
        names = {"job": _("job"), "pipeline": _("pipeline"), "approval": _("approval")}
        for kind in NUMBERED:
            if word in (kind, f"{kind}s", names[kind]):
                return kind, within(found[2])
    return "", None


def within(digits: str) -> int | None:
    """An id the database can be asked for."""
    number = int(digits)
    return number if 0 < number <= MAX_ID else None


def digest_in(said: str) -> tuple[str, str]:
    """(beginning, end) of a digest as pages show it: whole, with `sha256:`, grouped by eight, or shortened. The id of a
    logged model is such a beginning behind `m-`."""
    bare = said.lower().removeprefix("sha256:").removeprefix("m-").replace(" ", "")
    if found := SHORTENED.match(bare):
        return found[1], found[2]
    is_hex = HEX_LEAST <= len(bare) <= 64 and not set(bare) - set("0123456789abcdef")
    return (bare, "") if is_hex else ("", "")
