import pytest

from apps.core.errors import Invalid
from apps.platform.approvals.differences import iter_differences, serialize_facts, shorten_value


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [{"path": "/a", "was": 1, "is": 2}]),
        ({"a": 1}, {"a": 1.0}, [{"path": "/a", "was": 1, "is": 1.0}]),
        ({"a": None}, {}, [{"path": "/a", "was": None}]),
        ({}, {"a": None}, [{"path": "/a", "is": None}]),
        ({"a": {}}, {"a": []}, [{"path": "/a", "was": {}, "is": []}]),
        ({"a": [1, 2]}, {"a": [1]}, [{"path": "/a/1", "was": 2}]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, [{"path": "/a/b", "was": 1, "is": 3}]),
        ({"a/b~": 1}, {"a/b~": 2}, [{"path": "/a~1b~0", "was": 1, "is": 2}]),
    ],
)
def test_every_leaf_that_differs_has_its_pointer(was, now, found):
    assert list(iter_differences(was, now)) == found


def test_a_long_value_is_cut():
    assert len(shorten_value("x" * 5000)) == 301


@pytest.mark.parametrize("facts", [{"a": float("inf")}, {"a": object()}, {"a": "\ud800"}, [], "text"])
def test_what_is_no_object_of_json_is_refused(facts):
    with pytest.raises(Invalid) as refusal:
        serialize_facts(facts)
    assert refusal.value.code == "facts_unusable"
