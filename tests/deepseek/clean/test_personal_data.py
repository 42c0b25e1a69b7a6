"""Personal data: found by form and check digit, hidden so that rows can still be told apart."""

import re
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.clean import fpe
from deepseek.clean.fpe import DigitCipher
from deepseek.clean.personal_data import (
    PROVINCES,
    Hider,
    compute_id_check,
    compute_luhn_digit,
    find_personal_data,
    is_bank_card,
    is_id_card,
)

KEY = bytes(range(32))
ID = "11010519491231002X"  # the example of GB 11643
CARD = "6222021234567890128"[:-1]
CARD += compute_luhn_digit(CARD)
ALL = ["id_card", "phone", "bank_card", "name"]
AES128, AES256 = "2B7E151628AED2A6ABF7158809CF4F3C", "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"


@pytest.mark.parametrize(
    ("key", "tweak", "wanted"),
    [
        (AES128, "", "2433477484"),
        (AES128, "39383736353433323130", "6124200773"),
        (AES256, "", "6657667009"),
        (AES256, "39383736353433323130", "1001623463"),
    ],
)
def test_samples_of_nist(key, tweak, wanted):
    assert DigitCipher(bytes.fromhex(key)).encrypt("0123456789", bytes.fromhex(tweak)) == wanted


@pytest.mark.parametrize("limit", [1, 7, 500, 1000])
def test_numbers_below_a_limit_are_permuted(monkeypatch, limit):
    """Over three digits: over six, each number below 500 takes some 2,000 encryptions."""
    monkeypatch.setattr(fpe, "MIN_DIGITS", 3)
    digits = DigitCipher(KEY)
    permuted = [digits.encrypt_below(number, limit) for number in range(limit)]
    assert sorted(permuted) == list(range(limit))
    assert limit < 500 or permuted != sorted(permuted)


def test_numbers_below_a_small_limit_are_encrypted_as_six_digits():
    digits = DigitCipher(KEY)
    permuted = [digits.encrypt_below(number, 5000) for number in range(3)]
    for number, other in enumerate(permuted):
        walk = int(digits.encrypt(f"{number:06d}"))
        while walk >= 5000:
            walk = int(digits.encrypt(f"{walk:06d}"))
        assert other == walk


def test_fewer_than_six_digits_are_not_encrypted():
    with pytest.raises(ValueError, match="6 decimal digits"):
        DigitCipher(KEY).encrypt("12345")


def test_check_digits():
    assert is_id_card(ID)
    assert is_id_card(ID.lower())
    assert not is_id_card(ID[:-1] + "1")
    assert not is_id_card("110105194913310020")  # no such month
    assert is_bank_card("4111111111111111")
    assert not is_bank_card("4111111111111112")


def hiding(*asked):
    """What becomes of a text."""
    hider = Hider(*asked)
    return lambda text: hider.hide(text) or text


def test_masks():
    hide = hiding(ALL, "mask", None)
    assert hide(f"证件{ID}，电话 138 1234 5678") == "证件110***********002X，电话 138 **** 5678"
    assert hide("4111 1111 1111 1111") == "**** **** **** 1111"
    assert hide("张三丰") == "张**"
    assert hide("张三丰来了吗") == "张三丰来了吗"


@pytest.mark.parametrize(
    "text", ["订单 123456789012345678", "v1.38.123456789", "8613812345678901", "110105194912310021", ""]
)
def test_what_is_no_personal_data_stays(text):
    assert hiding(ALL, "mask", None)(text) == text


def test_pseudonyms_keep_the_form_and_depend_on_the_key():
    hide, other = (hiding(ALL, "pseudonym", key) for key in (KEY, bytes(32)))
    assert is_id_card(hide(ID))
    assert re.fullmatch(r"1[3-9]\d{9}", hide("13812345678"))
    assert is_bank_card(hide(CARD))
    assert hide(CARD)[:6] == CARD[:6]
    assert len(hide("张三丰")) == 3
    for text in (ID, "13812345678", CARD, "欧阳锋"):
        assert text != hide(text) == hide(text) != other(text)


@given(st.integers(0, 7 * 10**9 - 1), st.integers(0, 7 * 10**9 - 1))
def test_two_phones_never_share_a_pseudonym(a, b):
    hide = hiding(["phone"], "pseudonym", KEY)
    first, second = (str(13 * 10**9 + number) for number in (a, b))
    assert (hide(first) == hide(second)) == (first == second)


@given(st.sampled_from(["11", "44", "65"]), st.integers(0, 9999), st.dates(), st.integers(0, 999))
def test_every_identity_number_becomes_one(province, region, day, order):
    body = f"{province}{region:04d}{day.year:04d}{day:%m%d}{order:03d}"
    text = body + compute_id_check(body)
    hidden = hiding(["id_card"], "pseudonym", KEY)(text)
    assert is_id_card(hidden) == is_id_card(text) or hidden == text


@st.composite
def identity_cards(draw):
    day = draw(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
    region, order = draw(st.integers(0, 9999)), draw(st.integers(0, 999))
    body = f"{draw(st.sampled_from(PROVINCES))}{region:04d}{day:%Y%m%d}{order:03d}"
    return body + compute_id_check(body)


PHONES = st.from_regex(r"(\+86 |86)?1[3-9][0-9]{9}", fullmatch=True)
BANK_CARDS = st.from_regex(r"[2-9][0-9]{11,17}", fullmatch=True).map(lambda body: body + compute_luhn_digit(body))


def kinds(text):
    return [(one.start, one.end, one.kind) for one in find_personal_data(text)]


@given(st.lists(st.one_of(identity_cards(), PHONES, BANK_CARDS), min_size=1, max_size=4), st.sampled_from(" ，"))
def test_a_pseudonym_is_of_the_kind_of_its_value_whatever_stands_beside_it(values, between):
    hide = hiding(ALL, "pseudonym", KEY)
    hidden = [hide(value) for value in values]
    assert [kinds(text) for text in hidden] == [kinds(value) for value in values]
    assert hide(between.join(values)) == between.join(hidden)


def test_the_pseudonym_of_an_identity_card_is_no_bank_card():
    """One in a hundred of them ends in an X behind 17 digits that have the check digit of a bank card."""
    bodies = [f"316636195809{day:02d}{order:03d}" for day in range(1, 31) for order in range(20)]
    for card in (body + compute_id_check(body) for body in bodies):
        assert is_id_card(hiding(ALL, "pseudonym", KEY)(card))


def test_an_identity_card_behind_letters_is_no_bank_card():
    bodies = [f"3166361958{month:02d}01{order:03d}" for month in range(1, 13) for order in range(200)]
    cards = [f"ID{body}X" for body in bodies if compute_id_check(body) == "X" and is_bank_card(body)]
    assert cards
    assert [hiding(["bank_card"], "mask", None)(card) for card in cards] == cards


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("6222021234567894 12", "************7894 12"),
        ("2024 6222021234567894", "2024 ************7894"),
        ("4111 1111 1111 1111 86 13812345678", "**** **** **** 1111 86 138****5678"),
        ("8613812345678", "86138****5678"),
    ],
)
def test_digits_beside_a_card_and_a_country_code_are_no_part_of_one(text, wanted):
    assert hiding(ALL, "mask", None)(text) == wanted


def test_all_of_a_text_are_found_in_their_order():
    found = find_personal_data(" ".join(["+86 138 1234 5678", "4111111111111111", ID] * 1000))
    assert [one.kind for one in found] == ["phone", "bank_card", "id_card"] * 1000
    assert all(one.end < other.start for one, other in pairwise(found))
