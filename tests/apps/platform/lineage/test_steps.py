"""The strip of a page: from the farthest source to the farthest use."""

import pytest

from apps.platform.lineage.ends import END_TYPES
from apps.platform.lineage.queries import GraphNode, fetch_graph
from apps.platform.lineage.services import record_edges
from apps.platform.lineage.steps import (
    ADDRESSES,
    PAGELESS,
    build_edge_table,
    build_strip,
    get_node_url,
    get_type_label,
    map_step_positions,
)

pytestmark = pytest.mark.django_db
FORMS = [
    ("dataset_version:1", "job:1"),
    ("job:1", "artifact:f"),
    ("artifact:f", "job:2"),
    ("job:2", "artifact:q"),
    ("artifact:f", "variant:1"),
    ("artifact:q", "variant:2"),
    ("variant:1", "model_version:1"),
    ("variant:2", "model_version:1"),
]


@pytest.fixture
def found(worker_actor, project, edge):
    """found(pairs, root) -> the graph of these edges around the root."""

    def make(pairs, root):
        record_edges(actor=worker_actor, project=project, edges=[edge(*pair) for pair in pairs])
        return fetch_graph(worker_actor, project, *root.split(":"), depth=10)

    return make


def test_what_a_form_was_made_from_stands_before_it(found):
    """By the shortest way the job that quantized would stand beside the one that trained."""
    steps = build_strip(found(FORMS, "model_version:1"), "demo")
    labels = [step["label"] for step in steps]
    assert labels[:4] == ["dataset_version:1", "job:1", "artifact:f", "job:2"]
    assert labels[-1] == "model_version:1"
    assert steps[-1]["here"]


def test_only_what_took_it_stands_after_it(found):
    """Also what took besides something that was made from it."""
    pairs = [*FORMS, ("dataset_version:1", "job:3"), ("variant:2", "job:3")]
    steps = build_strip(found(pairs, "dataset_version:1"), "demo")
    assert [step["label"] for step in steps] == ["dataset_version:1", "job:3", "job:1"]


def test_a_cycle_ends(found):
    places = map_step_positions(found([("job:1", "job:2"), ("job:2", "job:1")], "job:1"))
    assert set(places) == {("job", "1"), ("job", "2")}


def test_a_crowded_step_is_counted(found):
    steps = build_strip(found([("job:1", f"artifact:{n}") for n in range(9)], "job:1"), "demo")
    assert (steps[-1]["label"], steps[-1]["kind"]) == ("6 more", "Artifact")
    assert steps[-1]["url"] == "/p/demo/lineage/job/1#graph"


def test_the_count_of_a_graph_that_was_cut(found):
    whole = found(
        [("job:1", f"artifact:{n}") for n in range(5)] + [("job:1", "run:1"), ("job:1", "variant:1")], "job:1"
    )
    whole.truncated = True
    assert (build_strip(whole, "demo")[-1]["label"], build_strip(whole, "demo")[-1]["kind"]) == (
        "at least 4 more",
        "Other",
    )


def test_a_crowded_step_begins_with_the_newest(found):
    steps = build_strip(found([("dataset_version:1", f"job:{n}") for n in (2, 9, 10, 11)], "dataset_version:1"), "demo")
    assert [step["label"] for step in steps][1:] == ["job:11", "job:10", "job:9", "1 more"]


def test_every_type_of_end_has_a_word_and_a_page(project):
    assert set(ADDRESSES) | PAGELESS == set(END_TYPES)
    assert all(get_type_label(type) != type for type in END_TYPES)
    ids = {"artifact": "a" * 64, "run": "a" * 32}
    assert all(get_node_url(GraphNode(type, ids.get(type, "1"), "", "", 0), "demo") for type in ADDRESSES)


def test_rows_name_both_ends(found):
    rows = build_edge_table(found(FORMS[:2], "job:1"), "demo")
    assert [(row["source"]["label"], row["target"]["label"]) for row in rows] == FORMS[:2]
