"""MLflow's filter language: what it takes, what it refuses and where, and that it comes back from its own text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.ml.experiments.filters.grammar import Comparison, FilterError, parse
from apps.ml.experiments.filters.orders import Order, read_orders
from apps.ml.experiments.filters.vocabularies import EXPERIMENTS, LOGGED_MODELS, RUNS

VALID = {
    "metrics.acc > 0.6": ("metric", "acc", ">", 0.6),
    "metric.m.dot = 1": ("metric", "m.dot", "=", 1.0),
    "`metrics`.acc >= -1.5e-3": ("metric", "acc", ">=", -0.0015),
    'metrics."train/loss" < .5': ("metric", "train/loss", "<", 0.5),
    "params.lr = '0.1'": ("parameter", "lr", "=", "0.1"),
    'parameters.`a b` != "it\'s"': ("parameter", "a b", "!=", "it's"),
    "params.lr = 'it''s'": ("parameter", "lr", "=", "it''s"),
    "tag.team like 'v%'": ("tag", "team", "LIKE", "v%"),
    "tags.team is not  null": ("tag", "team", "IS NOT NULL", None),
    "params. = 'x'": ("parameter", "", "=", "x"),
    "status = 'FAILED'": ("attribute", "status", "=", "FAILED"),
    "attr.`Run name` ILIKE 'A'": ("attribute", "run_name", "ILIKE", "A"),
    "run.Created <= 5": ("attribute", "start_time", "<=", 5),
    "run_id IN ('a', \"b\",)": ("attribute", "run_id", "IN", ("a", "b")),
    "datasets.name NOT IN ('a')": ("dataset", "name", "NOT IN", ("a",)),
    "dataset.context = 'train'": ("dataset", "context", "=", "train"),
}
INVALID = {
    "  ": "Invalid filter '  '. Could not be parsed.",
    "metrics.acc = '0.7'": "Expected numeric value type for metric. Found '0.7'",
    "metrics.acc > high": "Expected numeric value type for metric. Found high",
    "metrics.acc IS NULL": "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'acc'",
    "0.6 < metrics.acc": "Invalid comparison clause. Expected 'Identifier' found '0.6'",
    "params.lr = 0.1": "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 0.1",
    "params.lr IN ('1')": "Expected a quoted string value for parameter (e.g. 'my-value'). Got value ('1')",
    "tags.a b = 'c'": "Invalid clause(s) in filter string: 'tags.a'",
    "run_name IN ('a')": "Only ['run_id'] attributes support comparison with a list of quoted string values.",
    "run_id IN ()": "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
    "run_id IN (a)": "While parsing a list in the query, expected a non-empty list of string values, "
    "but got ill-formed list.",
    "run_id IN 'a'": "Invalid clause(s) in filter string: 'run_id', 'IN', ''a''",
    "start_time = '1'": "Expected numeric value type for numeric attribute: start_time. Found '1'",
    "nothing.a = 'b'": "Invalid entity type 'nothing'. "
    "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
    "params.a = 'b' or params.a = 'c'": "Invalid clause(s) in filter string: 'or'",
    "(params.lr = '0.1')": "Invalid clause(s) in filter string: '(params.lr = '0.1')'",
    "params.lr": "Invalid clause(s) in filter string: 'params.lr'",
    "params.lr =": "Invalid clause(s) in filter string: 'params.lr', '='",
    "params.lr = '0.1": "Invalid clause(s) in filter string: 'params.lr', '=', ''', '0.1'",
    "params.`lr = '0.1'": "Invalid clause(s) in filter string: 'params.', '`'",
    ".lr = 'x'": "Invalid clause(s) in filter string: '.'",
    "NOT params.lr = '0.1'": "Invalid clause(s) in filter string: 'NOT'",
    "params.lr = bare": "Parameter value is either not quoted or unidentified quote types used for string value bare. "
    "Use either single or double quotes.",
    "params.a = 'b'; drop table runs": "Search filter contained multiple expression "
    "\"params.a = 'b'; drop table runs\". Provide AND-ed expression list.",
    "params.a = '\x00'": "Invalid filter: the character U+0000 cannot be part of a text.",
    "params.a = '\ud800'": "Invalid filter: the character U+D800 cannot be part of a text.",
    "run_id IN ('\\x00')": "Invalid filter: the character U+0000 cannot be part of a text.",
}


def test_takes_what_mlflow_takes():
    assert {text: parse(text, RUNS) for text in VALID} == {text: (Comparison(*one),) for text, one in VALID.items()}


def refusal_of(text) -> tuple[str, str] | None:
    try:
        parse(text, RUNS)
    except FilterError as refusal:
        return refusal.message, refusal.field
    return None


def test_refuses_in_mlflow_words():
    assert {text: refusal_of(text) for text in INVALID} == {text: (INVALID[text], "filter") for text in INVALID}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("params.lr > '1'", "Invalid comparator '>' not one of "),
        ("params.lr == '1'", "Invalid comparator '==' not one of "),
        ("dataset.name > 'a'", "Invalid comparator '>' not one of "),
        ("dataset.colour = 'a'", "Invalid dataset key 'colour' specified. Valid keys are "),
        ("lifecycle_stage = 'active'", "Invalid attribute key 'lifecycle_stage' specified. Valid keys are "),
        ("run_id = ('a')", "Invalid comparison of a list of values by '='."),
    ],
)
def test_names_what_there_is(text, refused):
    with pytest.raises(FilterError) as caught:
        parse(text, RUNS)
    assert caught.value.message.startswith(refused)


def test_joins_by_and_in_any_case_and_minds_none_too_many():
    both = parse("params.a = 'x' And metrics.b > 1", RUNS)
    assert [one.key for one in both] == ["a", "b"]
    assert parse("and params.a = 'x' metrics.b > 1 AND", RUNS) == both
    assert parse("", RUNS) == ()


def test_says_where_the_mistake_is():
    text = "params.a = 'x' AND metrics.b > 'y'"
    with pytest.raises(FilterError) as caught:
        parse(text, RUNS)
    assert text[caught.value.start : caught.value.end] == "'y'"
    found = parse("params.a = 'x'  AND tags.b = 'y'", RUNS)
    assert [(one.start, one.end) for one in found] == [(0, 14), (20, 32)]


def test_refuses_more_comparisons_than_a_query_can_hold():
    assert len(parse(" AND ".join(["params.a = 'x'"] * 50), RUNS)) == 50
    with pytest.raises(FilterError, match="at most 50"):
        parse(" AND ".join(["params.a = 'x'"] * 51), RUNS)


def test_refuses_a_pattern_longer_than_any_value():
    assert parse(f"tags.a LIKE '{'%' * 8000}'", RUNS)
    with pytest.raises(FilterError, match="8001 characters, at most 8000"):
        parse(f"tags.a ILIKE '{'a' * 8001}'", RUNS)


def test_other_vocabularies_have_their_own_words():
    with pytest.raises(FilterError, match=r"Invalid entity type 'metrics'. Valid entity types are \('attribute'"):
        parse("metrics.a > 1", EXPERIMENTS)
    with pytest.raises(FilterError, match="Invalid comparator for string attribute: >"):
        parse("name > 'a'", EXPERIMENTS)
    with pytest.raises(FilterError, match="Expected a list of comparisons separated by 'AND'"):
        parse("name", LOGGED_MODELS)
    assert parse("name = net", LOGGED_MODELS) == parse("name = 'net'", LOGGED_MODELS)


# -- whatever the text ----------------------------------------------------------------------------------------------
PIECES = [*"'\"`()., ;%\\=<>!~-5e\n", " AND ", "metrics.", "params.a", "tags", " LIKE ", " IN ", " NOT ", " IS "]
PIECES += ["NULL", "run_id", "0.5", "'x'", "空", "\x00", "\ud800", "--", "/*"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join)))
def test_whatever_the_text_it_is_read_or_refused(text):
    for vocabulary in (RUNS, EXPERIMENTS, LOGGED_MODELS):
        try:
            found = parse(text, vocabulary)
        except FilterError:
            continue
        assert all(text[one.start : one.end].strip() for one in found)
        assert tuple(again for one in found for again in parse(str(one), vocabulary)) == found


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00'\"\\"), max_size=20)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\"'`"), min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.one_of(
        st.builds(Comparison, st.just("metric"), KEYS, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), NUMBERS),
        st.builds(
            Comparison,
            st.sampled_from(["parameter", "tag"]),
            KEYS,
            st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
            TEXTS,
        ),
        st.builds(Comparison, st.just("tag"), KEYS, st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none()),
        st.builds(
            Comparison,
            st.just("attribute"),
            st.just("run_id"),
            st.sampled_from(["IN", "NOT IN"]),
            st.lists(TEXTS, min_size=1, max_size=4).map(tuple),
        ),
    )
)
def test_a_comparison_comes_back_from_its_text(comparison):
    assert parse(str(comparison), RUNS) == (comparison,)


# -- orders ---------------------------------------------------------------------------------------------------------
def test_reads_orders():
    assert read_orders(["metrics.`a b` desc", "params.lr", "Created ASC"], RUNS) == (
        Order("metric", "a b", True),
        Order("parameter", "lr"),
        Order("attribute", "start_time"),
    )


@pytest.mark.parametrize(
    ("texts", "refused"),
    [
        ([""], "Invalid order_by clause ''. Could not be parsed."),
        (["metrics.acc asc desc"], "Invalid order_by clause 'metrics.acc asc desc'. Could not be parsed."),
        (["metrics.acc SIDEWAYS"], "Invalid ordering key in order_by clause 'metrics.acc SIDEWAYS'."),
        (["dataset.name ASC"], "Invalid identifier type 'dataset'"),
        (["start_time", "created DESC"], "`order_by` contains duplicate fields: ['start_time', 'created DESC']"),
        (["params.a"] * 21, "Invalid order_by: 21 clauses, at most 20 are allowed."),
    ],
)
def test_refuses_orders(texts, refused):
    with pytest.raises(FilterError) as caught:
        read_orders(texts, RUNS)
    assert (caught.value.message, caught.value.field) == (refused, "order_by")


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=8).map("".join)))
def test_whatever_the_order_it_is_read_or_refused(text):
    try:
        (found,) = read_orders([text], RUNS)
    except FilterError:
        return
    assert read_orders([str(found)], RUNS) == (found,)
