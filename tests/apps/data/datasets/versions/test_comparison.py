"""Two versions side by side."""

from apps.data.datasets.versions.comparison import build_schema, diff_params, pair_schemas


def test_a_measured_type_counts_more_than_a_guessed_one():
    report = {"columns": [{"name": "a", "dtype": "double"}]}
    assert build_schema([{"name": "a", "dtype": "int64"}, {"name": "b", "dtype": "string"}], report) == {
        "a": "double",
        "b": "string",
    }
    assert build_schema([], report) == {"a": "double"}


def test_what_changed_comes_first():
    pairs = pair_schemas(
        {"same": "int64", "new": "bool", "other": "double"},
        {"same": "int64", "other": "string", "gone": ""},
        None,
        None,
        {"same": {"verdict": "stable"}},
    )
    assert [(pair.name, pair.change) for pair in pairs] == [
        ("new", "new"),
        ("other", "type"),
        ("gone", "gone"),
        ("same", "same"),
    ]


def test_the_drift_of_its_values_is_the_change_of_a_column():
    same, drifts = (
        dict.fromkeys(("a", "b", "c", "d", "e"), "string"),
        {
            "a": {"verdict": "stable"},
            "b": {"verdict": "stable", "lost_categories": ["harbour"]},
            "c": {"verdict": "moved"},
            "d": {"verdict": "changed"},
        },
    )
    pairs = pair_schemas(same, same, None, None, drifts)
    assert {pair.name: pair.change for pair in pairs} == {
        "a": "same",
        "b": "moved",
        "c": "moved",
        "d": "changed",
        "e": "unmeasured",
    }
    assert [pair.name for pair in pairs if pair.differs] == ["b", "c", "d"]


def test_medians_of_both_stand_side_by_side():
    def report(median):
        return {"columns": [{"name": "a", "numeric": {"quantiles": {"0.5": median}}}]}

    (pair,) = pair_schemas({"a": "double"}, {"a": "double"}, report(2.0), report(1.0), {})
    assert (pair.median, pair.other_median) == (2.0, 1.0)


def test_only_parameters_that_differ():
    assert diff_params([("a", 1), ("b", 2), ("c", 3)], [("a", 1), ("b", 5), ("d", 4)]) == [
        ("b", 2, 5),
        ("c", 3, None),
        ("d", None, 4),
    ]
