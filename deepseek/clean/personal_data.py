"""Detect personal data by pattern and check digit, and hide it by asterisks or pseudonyms of the same form.

A pseudonym is a permutation under a key (FF1, see `fpe`) of the values of that form: the same value gives the same
pseudonym under the same key, two values never share one, and the check digit is right again. A pseudonym of a name is
drawn by a keyed hash from common names; two names may share one.
"""

import hashlib
import hmac
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from deepseek.clean.fpe import DigitCipher, get_digit_cipher
from deepseek.tables.redaction import REDACTED

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECKS = "10X98765432"
FIRST_DAY, DAYS = date(1900, 1, 1), 73_049  # to the last of 2099
RANGES = ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
PROVINCES = [str(code) for first, last in RANGES for code in range(first, last + 1)]
SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆"
    "范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文欧"
)
COMPOUND = ("欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "司徒", "令狐", "夏侯")
GIVEN_NAMES = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国文志海波宁辉云鹏飞雪梅琳晨宇浩然欣怡佳瑞子轩"

ID_CARD = re.compile(r"(?<![0-9A-Za-z])[1-8]\d{16}[0-9Xx](?![0-9A-Za-z])", re.ASCII)
PHONE = re.compile(r"(?<![0-9])((?:\+?86[- ]?)?)(1[3-9]\d)([- ]?)(\d{4})([- ]?)(\d{4})(?![0-9])", re.ASCII)
BANK_CARD = re.compile(r"(?<![0-9])[2-9]\d{3}(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,4})?(?![0-9])", re.ASCII)
NAME = re.compile(f"(?:{'|'.join(COMPOUND)}|[{SURNAMES}])[\u4e00-\u9fff·]{{1,3}}")


def compute_id_check(body: str) -> str:
    """The check character of 17 digits of an identity card: ISO 7064, MOD 11-2, as GB 11643 has it."""
    return CHECKS[sum(w * int(d) for w, d in zip(WEIGHTS, body, strict=True)) % 11]


def is_id_card(text: str) -> bool:
    """Whether 18 characters are an identity number: a province, a day between 1900 and 2099, the right check digit."""
    try:
        day = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    in_range = 0 <= (day - FIRST_DAY).days < DAYS
    return in_range and text[:2] in PROVINCES and compute_id_check(text[:17]) == text[17].upper()


def compute_luhn_digit(body: str) -> str:
    """The check digit of a card number whose other digits these are: ISO/IEC 7812-1, annex B."""
    doubled = [int(d) * (2 if place % 2 == 0 else 1) for place, d in enumerate(reversed(body))]
    return str(-sum(n // 10 + n % 10 for n in doubled) % 10)


def is_bank_card(digits: str) -> bool:
    """Whether these are 13 to 19 digits of which the last is the right check digit."""
    return 13 <= len(digits) <= 19 and compute_luhn_digit(digits[:-1]) == digits[-1]


class PersonalDataMatch(NamedTuple):
    """A part of a text that is personal data, and of which kind."""

    start: int
    end: int
    kind: str


def find_personal_data(text: str) -> list[PersonalDataMatch]:
    """Every identity card, bank card and phone of a text, in their order; no two overlap.

    All are looked for in the text as it is: a pseudonym never becomes part of what is found. What could be several
    kinds is the first of: an identity card, a phone with its country code, a bank card, a phone.
    """
    matches = [PersonalDataMatch(*match.span(), "id_card") for match in ID_CARD.finditer(text) if is_id_card(match[0])]
    phones = [PersonalDataMatch(*match.span(), "phone") for match in PHONE.finditer(text)]
    with_code = [match for match in phones if text[match.start] != "1"]
    for match in (*with_code, *_iter_bank_cards(text), *phones):
        place = bisect(matches, match)  # none overlaps another, so that only its neighbours can be in the way
        before, after = matches[place - 1 : place], matches[place : place + 1]
        if all(neighbour.end <= match.start for neighbour in before) and all(
            match.end <= neighbour.start for neighbour in after
        ):
            matches.insert(place, match)
    return matches


def _iter_bank_cards(text: str) -> Iterator[PersonalDataMatch]:
    """What can be a bank card, from each place the longest first: a group of digits beside a card is no part of it."""
    at = 0
    while candidate := BANK_CARD.search(text, at):
        at = candidate.start() + 1
        for end in (candidate.end(), *(place for place in range(candidate.end() - 1, at, -1) if text[place] in " -")):
            digits = re.sub("[ -]", "", text[candidate.start() : end])
            if is_bank_card(digits) and not (_is_id_card(digits) or _is_id_card(digits + text[end : end + 1])):
                yield PersonalDataMatch(candidate.start(), end, "bank_card")


def _is_id_card(text: str) -> bool:
    return ID_CARD.fullmatch(text) is not None and is_id_card(text)


class Hider:
    """What hides personal data of these kinds in texts. A pseudonym needs a key of at least 16 bytes."""

    def __init__(self, what: Sequence[str], how: str, key: bytes | None) -> None:
        self.what = frozenset(what)
        self._mask: _AsteriskMask = _PseudonymMask(key) if how == "pseudonym" and key is not None else _AsteriskMask()

    def hide(self, text: str) -> str | None:
        """What becomes of a text; None where nothing of these kinds is in it."""
        if "name" in self.what and NAME.fullmatch(text):
            return self._mask.hide_name(text)
        parts = [match for match in find_personal_data(text) if match.kind in self.what]
        for start, end, kind in reversed(parts):
            text = text[:start] + self._mask.hide_part(kind, text[start:end]) + text[end:]
        return text if parts else None

    def hide_whole(self, text: str) -> str:
        """What hides a text of no known form: equal for equal texts where pseudonyms are put."""
        return self._mask.hide_whole(text)


class _AsteriskMask:
    """Asterisks: what stays lets a person tell rows apart, and no more."""

    def hide_part(self, kind: str, text: str) -> str:
        """What is put in the place of an identity card, a bank card or a phone; what parts its digits stays."""
        if kind == "id_card":
            return self.hide_id_card(text)
        head = ""
        if kind == "phone" and (match := PHONE.fullmatch(text)):
            head = match[1]
        digits = re.sub("[ -]", "", text[len(head) :])
        new = iter(self.hide_phone(digits) if kind == "phone" else self.hide_bank_card(digits))
        return head + "".join(next(new) if sign.isdigit() else sign for sign in text[len(head) :])

    def hide_whole(self, text: str) -> str:
        return REDACTED

    def hide_id_card(self, text: str) -> str:
        return text[:3] + "*" * 11 + text[14:]

    def hide_bank_card(self, digits: str) -> str:
        return "*" * (len(digits) - 4) + digits[-4:]

    def hide_phone(self, digits: str) -> str:
        return digits[:3] + "****" + digits[7:]

    def hide_name(self, text: str) -> str:
        return text[0] + "*" * (len(text) - 1)


class _PseudonymMask(_AsteriskMask):
    """Values of the same form under a key."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("the key has fewer than 16 bytes")
        self._names = hmac.new(key, b"names", hashlib.sha256).digest()
        self._whole = hmac.new(key, b"whole", hashlib.sha256).digest()
        self._digits: DigitCipher = get_digit_cipher(hmac.new(key, b"digits", hashlib.sha256).digest())

    def hide_whole(self, text: str) -> str:
        """P and 16 hexadecimal digits."""
        return "P" + hmac.new(self._whole, text.encode(), hashlib.sha256).hexdigest()[:16]

    def hide_id_card(self, text: str) -> str:
        """Province, region, day of birth and number change together; the result is a number that could be given out."""
        day = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
        number = PROVINCES.index(text[:2])
        for part, size in ((int(text[2:6]), 10**4), ((day - FIRST_DAY).days, DAYS), (int(text[14:17]), 1000)):
            number = number * size + part
        number = self._digits.encrypt_below(number, len(PROVINCES) * 10**4 * DAYS * 1000, b"id card")
        number, order = divmod(number, 1000)
        number, days = divmod(number, DAYS)
        province, region = divmod(number, 10**4)
        body = f"{PROVINCES[province]}{region:04d}{FIRST_DAY + timedelta(days):%Y%m%d}{order:03d}"
        return body + compute_id_check(body)

    def hide_bank_card(self, digits: str) -> str:
        """The first six digits, which name the bank, stay; the check digit is made right."""
        body = digits[:6] + self._digits.encrypt(digits[6:-1], b"bank card" + digits[:6].encode())
        return body + compute_luhn_digit(body)

    def hide_phone(self, digits: str) -> str:
        """All digits change but the leading 1; the second stays between 3 and 9."""
        number = self._digits.encrypt_below(int(digits[1:]) - 3 * 10**9, 7 * 10**9, b"phone")
        return f"1{number + 3 * 10**9:010d}"

    def hide_name(self, text: str) -> str:
        number = int.from_bytes(hmac.new(self._names, text.encode(), hashlib.sha256).digest(), "big")
        compound = text.startswith(COMPOUND) and len(text) > 2
        choices: Sequence[str] = COMPOUND if compound else SURNAMES
        number, place = divmod(number, len(choices))
        name = choices[place]
        while len(name) < len(text):
            number, place = divmod(number, len(GIVEN_NAMES))
            name += GIVEN_NAMES[place]
        return name
