"""Encoding and delimiter of a CSV file, found in its bytes, or not guessed."""

import pytest

from deepseek.tables.csv_dialect import AUTO, HEAD_BYTES, CsvDialect, find_dialect, guess_dialect
from deepseek.tables.csv_faults import CsvError

CHINESE = "日期;价格\n2024-01-01;3.5\n"


def found(data, delimiter=AUTO, encoding=AUTO, step=7):
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    dialect = find_dialect(chunks, delimiter, encoding)
    return dialect.delimiter, dialect.encoding


TEXTS = [
    ("day,close\n1,2\n", ","),
    ("date;price\n2024-01-01;3.5\n", ";"),
    ("date;price;open\n2024-01-01;3,5;4,5\n", ";"),
    ("a\tb\r\n1\t2\r\n", "\t"),
    ("a|b\r1|2\r", "|"),
    ('"name; long",b\n"x; y",2\n', ","),
    ('time,"price; open; close"\n1,2\n3,4\n', ","),
    ("\ufeffa;b\n\n1;2\n", ";"),
    ("close\n1\n2\n", ","),
    ('note;b\n"one\n\ntwo, three";2\n', ";"),
    ("a;b\n1;2\n3\n", ";"),
    ("", ","),
]


def test_delimiter_is_detected():
    wrong = {text: found(text.encode()) for text, delimiter in TEXTS if found(text.encode()) != (delimiter, "utf-8")}
    assert wrong == {}


@pytest.mark.parametrize("text", ["date;price,eur\n2024;3,5\n", "a,b;c\n1,2\n3;4\n", "a,b,c|d\n1,2,3|4\n1,2|3\n"])
def test_a_delimiter_that_is_open_is_not_guessed(text):
    with pytest.raises(CsvError) as caught:
        found(text.encode())
    assert (caught.value.code, caught.value.field) == ("csv_delimiter_unknown", "/csv/delimiter")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_encoding_is_found(encoding, step):
    assert found(CHINESE.encode(encoding), step=step) == (";", encoding)


@pytest.mark.parametrize("text", ["name,city\nZürich,5\n", "note\nà la carte, très bien\n"])
def test_letters_with_accents_are_not_taken_for_chinese(text):
    with pytest.raises(CsvError) as caught:
        found(text.encode("latin-1"))
    assert (caught.value.code, caught.value.field) == ("csv_encoding_unknown", "/csv/encoding")
    assert "as CSV in UTF-8" in caught.value.hint


def test_a_rare_character_among_common_ones_is_chinese():
    assert found("姓名,城市\n朱镕基,北京\n".encode("gb18030")) == (",", "gb18030")


def test_the_encoding_is_that_of_the_last_byte_too():
    data = b"a,b\n" + b"1,2\n" * HEAD_BYTES + "甲,1\n".encode("gb18030")
    assert found(data, step=1 << 16) == (",", "gb18030")


def test_a_byte_of_a_character_is_no_delimiter():
    assert found("亅a,b亅\n1,2\n".encode("gb18030"), encoding="gb18030") == (",", "gb18030")


def test_what_was_asked_stays():
    data = CHINESE.encode("gb18030")
    assert found(data, delimiter=",") == (",", "gb18030")
    assert found(data, encoding="utf-8") == (";", "utf-8")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a,b\n\xff,1\n", "csv_encoding_unknown"),
        ("甲,1\n".encode() * 3 + "乙,2\n".encode("gb18030") + b"\xff", "csv_encoding_unknown"),
        (b"a,b\n\xb0", "csv_encoding_unknown"),
        (b"a,b\n1,\0\n", "csv_nul_byte"),
    ],
)
def test_what_is_no_text_is_named(data, code):
    with pytest.raises(CsvError) as caught:
        found(data)
    assert caught.value.code == code


def test_of_a_pushed_file_the_likeliest_is_taken():
    assert guess_dialect(b"a,b,c|d\n1,2,3|4\n1,2|3\n") == CsvDialect(",", "utf-8")
    assert guess_dialect(CHINESE.encode("gb18030")) == CsvDialect(";", "gb18030")
    assert guess_dialect(b"PAR1\0") is None
