"""Real English and Chinese texts that name people and organizations, out of installed packages.

English: entries of the public suffix list (in fido2, MPL 2.0), each with the organization and who submitted it.
Chinese: translators and messages of Django's catalogues (BSD). Addresses of mail are cut off.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(
    r"^// (?P<head>(?P<org>[A-Z][\w.&'-]*(?: [\w.&'-]+)*?)(?: : \S+)?)\n"
    r"// (?P<by>Submitted by (?P<who>[A-Z][a-z]+ [A-Z][a-z]+)) <",
    re.M,
)
NO_PERSON = re.compile("Team|Security|Department|Support|Domain|Engineering|Ops|Admin|Operations")
TRANSLATOR = re.compile(r"^# (?P<who>[\u4e00-\u9fff]{2,3}(?: [\u4e00-\u9fff])?) <[^>]*>, (?P<year>\d{4})", re.M)
MESSAGE = re.compile(
    r'^msgstr "(?P<text>(?=.*[\u4e00-\u9fff]{3})[^"<%{\n]*?(?P<org>Django|Unicode|Google)[^"<%{\n]*)"$', re.M
)


@dataclass(frozen=True)
class CreditedText:
    text: str
    person: str = ""
    organization: str = ""


def read_texts(english: int, chinese: int) -> list[CreditedText]:
    """As many texts of each language, always the same ones."""
    return [*read_english()[:english], *read_chinese()[:chinese]]


def read_english() -> list[CreditedText]:
    source = find_package("fido2") / "public_suffix_list.dat"
    found = {}
    for entry in ENTRY.finditer(source.read_text(encoding="utf-8")):
        if not NO_PERSON.search(entry["who"]):
            text = f"{entry['head']}\n{entry['by']}"
            found[text] = CreditedText(text, entry["who"], entry["org"])
    return list(found.values())


def read_chinese() -> list[CreditedText]:
    catalogues = sorted(find_package("django").glob("**/locale/zh_Han*/LC_MESSAGES/django.po"))
    contents = [path.read_text(encoding="utf-8") for path in catalogues]
    people = {
        f"{entry['who']}，{entry['year']}": entry["who"] for text in contents for entry in TRANSLATOR.finditer(text)
    }
    messages = {entry["text"]: entry["org"] for text in contents for entry in MESSAGE.finditer(text)}
    return [
        *(CreditedText(text, person=who) for text, who in sorted(people.items())),
        *(CreditedText(text, organization=org) for text, org in sorted(messages.items())),
    ]


def find_package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent
