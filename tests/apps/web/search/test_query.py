import pytest

from apps.web.search.query import parse_query


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [("#12", "", 12), ("12", "", 12), ("job 12", "job", 12), ("Pipeline #3", "pipeline", 3), ("train 12", "", None)],
)
def test_a_number_and_what_kind_it_is_of(text, kind, number):
    asked = parse_query(text)
    assert (asked.kind, asked.number) == (kind, number)


@pytest.mark.parametrize("text", ["0", "99999999999999999999", "#9223372036854775808"])
def test_what_no_row_can_be_called_is_no_number(text):
    assert parse_query(text).number is None


@pytest.mark.parametrize("text", ["wti v3", "wti@3", "wti/v3", "WTI V3"])
def test_a_version_of_something(text):
    asked = parse_query(text)
    assert (asked.name, asked.version) == ("wti", 3)


@pytest.mark.parametrize(
    ("text", "digest", "tail"),
    [
        ("9F86D0", "9f86d0", ""),
        ("sha256:9f86d081884c", "9f86d081884c", ""),
        ("9f86d081 884c7d65", "9f86d081884c7d65", ""),
        ("9f86d081…0a08", "9f86d081", "0a08"),
        ("9f86d", "", ""),
        ("9f86dz", "", ""),
    ],
)
def test_a_digest_as_pages_show_it(text, digest, tail):
    asked = parse_query(text)
    assert (asked.digest, asked.tail) == (digest, tail)


def test_nothing_is_asked_by_blanks_and_nul():
    assert parse_query(" \x00 \n").text == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=0.1", ("", "lr", "0.1")),
        ("params.lr = '0.1'", ("param", "lr", "0.1")),
        ("parameter.lr=1", ("param", "lr", "1")),
        ("tags.mlflow.user = ann b", ("tag", "mlflow.user", "ann b")),
        ("a=b=c", ("", "a", "b=c")),
        ("=", ("", "", "")),
        ("lr=", ("", "", "")),
        ("lr", ("", "", "")),
    ],
)
def test_a_key_with_its_value(text, expected):
    asked = parse_query(text)
    assert (asked.of, asked.key, asked.value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wti@champion", ("wti", "champion", None)),
        ("models:/Wti Net@champion", ("Wti Net", "champion", None)),
        ("models:/wti/3", ("", "", 3)),
        ("wti@3", ("", "", 3)),
        ("@x", ("", "", None)),
    ],
)
def test_a_version_by_an_alias(text, expected):
    asked = parse_query(text)
    assert (asked.aliased, asked.alias, asked.version) == expected


def test_the_id_of_a_logged_model_is_the_beginning_of_an_id():
    assert parse_query("m-0a1b2c3d").digest == "0a1b2c3d"
