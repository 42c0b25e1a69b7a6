import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Invalid, NotFound, Refused
from apps.platform.lineage.models import Edge
from apps.platform.lineage.queries import fetch_graph
from apps.platform.lineage.services import record_edges
from apps.platform.lineage.traversal import is_walk_cut, walk_edges

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def recorded(worker_actor, project):
    """recorded([edges], project) puts edges there."""
    return lambda edges, where=None: record_edges(actor=worker_actor, project=where or project, edges=edges)


@pytest.fixture
def viewing(actor_for, viewer):
    return actor_for(viewer)


def ids(found):
    return {f"{node.type}:{node.id}": node.depth for node in found.nodes.values()}


def test_ancestors_and_descendants_but_no_siblings(recorded, viewing, project, edge):
    recorded(
        [edge("dataset_version:1", "job:2"), edge("job:2", "dataset_version:3"), edge("dataset_version:3", "job:4")]
    )
    recorded([edge("dataset_version:1", "job:9"), edge("job:8", "job:4")])
    found = fetch_graph(viewing, project, "dataset_version", "3")
    assert ids(found) == {"dataset_version:1": -2, "job:2": -1, "dataset_version:3": 0, "job:4": 1}
    assert len(found.edges) == 3
    assert found.nodes["dataset_version", "3"].label == "dataset_version:3"
    assert not found.truncated


@pytest.mark.parametrize(
    ("direction", "expected"), [("up", {"job:1", "job:2", "job:3"}), ("down", {"job:3", "job:4", "job:5"})]
)
def test_one_direction(recorded, viewing, project, chain, direction, expected):
    recorded(chain(5))
    assert set(ids(fetch_graph(viewing, project, "job", "3", direction=direction))) == expected


@pytest.mark.parametrize("depth", [1, 2, 10, 50])
def test_any_depth_is_two_queries(recorded, viewing, project, chain, depth, django_assert_num_queries):
    recorded(chain(120))
    with django_assert_num_queries(2):
        found = fetch_graph(viewing, project, "job", "60", depth=depth)
    assert ids(found) == {f"job:{60 + n}": n for n in range(-depth, depth + 1)}


def test_the_shortest_way_is_the_depth(recorded, viewing, project, edge):
    recorded([edge("job:1", "job:2"), edge("job:2", "job:3"), edge("job:1", "job:3"), edge("job:3", "job:4")])
    assert ids(fetch_graph(viewing, project, "job", "1", depth=9)) == {"job:1": 0, "job:2": 1, "job:3": 1, "job:4": 2}


def test_many_ways_through_a_lattice_do_not_multiply(recorded, viewing, project, edge, django_assert_num_queries):
    """Two ways in each of 40 levels are 2 ** 40 ways; each edge is met once for each level."""
    pairs = [(f"job:{n}{a}", f"job:{n + 1}{b}") for n in range(1, 41) for a in "12" for b in "12"]
    recorded([edge(*pair) for pair in pairs])
    with django_assert_num_queries(2):
        found = fetch_graph(viewing, project, "job", "11", depth=50)
    assert len(found.nodes) == 1 + 2 * 40


def test_a_cycle_within_a_chain_ends_and_is_shown(recorded, viewing, project, edge):
    recorded([edge("job:1", "job:2"), edge("job:2", "job:3"), edge("job:3", "job:1"), edge("job:3", "job:4")])
    found = fetch_graph(viewing, project, "job", "1", depth=50)
    assert (len(found.nodes), len(found.edges), found.truncated) == (4, 4, False)


@pytest.mark.parametrize("fan", [5, 50])
def test_a_wide_level_is_one_query(recorded, viewing, project, edge, fan, django_assert_num_queries):
    recorded([edge("job:1", f"job:{n + 10}") for n in range(fan)])
    recorded([edge(f"job:{n + 10}", "job:5") for n in range(fan)])
    with django_assert_num_queries(2):
        found = fetch_graph(viewing, project, "job", "1", direction="down", depth=2)
    assert len(found.nodes) == fan + 2
    assert len(found.edges) == 2 * fan


def test_a_cycle_ends(recorded, viewing, project, edge, django_assert_max_num_queries):
    recorded([edge("dataset_version:1", "job:2"), edge("job:2", "dataset_version:1")])
    with django_assert_max_num_queries(2):
        found = fetch_graph(viewing, project, "dataset_version", "1", depth=10)
    assert len(found.nodes) == len(found.edges) == 2


def test_a_limit_cuts_and_says_so(recorded, viewing, project, edge):
    recorded([edge("job:1", f"job:{n + 10}") for n in range(20)])
    found = fetch_graph(viewing, project, "job", "1", limit=5)
    assert len(found.nodes) == 5
    assert all((e.target_type, e.target_id) in found.nodes for e in found.edges.values())
    assert found.truncated


def test_a_hub_of_descendants_does_not_push_out_the_ancestors(recorded, viewing, project, chain, edge):
    recorded(chain(4))
    recorded([edge("job:4", f"job:{n + 10}") for n in range(20)])
    found = fetch_graph(viewing, project, "job", "4", limit=8)
    assert {node for node in ids(found) if ids(found)[node] < 0} == {"job:1", "job:2", "job:3"}
    assert len(found.nodes) == 8
    assert found.truncated


def test_a_hub_is_cut_by_its_edges(recorded, viewing, project, edge):
    recorded([edge("job:1", "job:2", f"slot-{n}") for n in range(30)])
    found = fetch_graph(viewing, project, "job", "1", limit=3)
    assert len(found.edges) == 12
    assert found.truncated


def test_of_a_hub_no_more_is_read_than_can_be_shown(recorded, viewing, project, edge):
    """Its first edges are shown, and what came to it by another way goes on; the page says that there is more."""
    recorded([edge("job:1", "job:2", f"slot-{n:02}") for n in range(30)] + [edge("job:1", "job:3")])
    ways = walk_edges(project, ("job", "1"), "down", 5, fan=4, most=100)
    found = fetch_graph(viewing, project, "job", "1", direction="down", limit=3)
    assert [way.edge for way in ways] == list(Edge.objects.order_by("pk").values_list("pk", flat=True)[:5])
    assert set(ids(found)) == {"job:1", "job:2"}
    assert found.truncated


def test_a_hub_met_again_and_again_is_read_once_a_level(recorded, viewing, project, edge):
    recorded([edge("artifact:a", f"job:{n}") for n in range(1, 40)])
    recorded([edge("dataset_version:1", f"job:{n}") for n in range(1, 40)])
    ways = walk_edges(project, ("artifact", "a"), "down", 1, fan=9, most=100)
    assert len(ways) == 10
    assert is_walk_cut(ways, 9, 100)
    assert not is_walk_cut(ways, 10, 100)


def test_postgresql_walks_a_star_by_the_index_of_its_end(recorded, project, edge):
    """All edges are of one node: by the primary key each node of the walk would read them all."""
    if connection.vendor != "postgresql":
        pytest.skip("of PostgreSQL's planner")
    recorded([edge("dataset_version:1", f"job:{n}") for n in range(1000)])
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as asked:
        cursor.execute("ANALYZE lineage_edge")
        walk_edges(project, ("dataset_version", "1"), "down", 4, fan=4000, most=2000)
        cursor.execute(f"EXPLAIN {asked.captured_queries[-1]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "edge_on" in plan
    assert "lineage_edge_pkey" not in plan


@pytest.mark.parametrize("direction", ["up", "both"])
def test_the_walk_ends_when_enough_is_read(recorded, project, chain, direction):
    recorded(chain(60))
    ways = walk_edges(project, ("job", "50"), direction, 50, fan=9, most=20)
    assert [way.level for way in ways if way.side == "up"] == list(range(1, 22))
    assert is_walk_cut(ways, 9, 20)


def test_what_stands_alone_is_a_graph_of_one(viewing, project):
    found = fetch_graph(viewing, project, "job", "1")
    assert ids(found) == {"job:1": 0}
    assert not found.edges


def test_edges_of_another_project_do_not_show(recorded, viewing, project, other_project, edge):
    recorded([edge("job:1", "job:2")], other_project)
    assert not fetch_graph(viewing, project, "job", "1").edges


WRONG_QUERIES = [
    ({"type": "banana"}, "type"),
    ({"id": ""}, "id"),
    ({"id": "1 or 1=1"}, "id"),
    ({"direction": "sideways"}, "direction"),
    ({"depth": 0}, "depth"),
    ({"depth": 51}, "depth"),
    ({"limit": 1001}, "limit"),
]


def test_wrong_queries_name_their_field(viewing, project):
    errors = []
    for query, _ in WRONG_QUERIES:
        query = {"type": "job", "id": "1"} | query
        with pytest.raises(Invalid) as caught:
            fetch_graph(viewing, project, query.pop("type"), query.pop("id"), **query)
        errors.append((caught.value.field, bool(caught.value.limit)))
    assert errors == [(field, True) for _, field in WRONG_QUERIES]


def test_a_stranger_finds_nothing_and_an_auditor_is_refused(actor_for, stranger, auditor, project):
    for who, error in ((stranger, NotFound), (auditor, Refused)):
        with pytest.raises(error):
            fetch_graph(actor_for(who), project, "job", "1")
