import pytest

from apps.platform.lineage.ends import EdgeSpec, End


@pytest.fixture
def edge():
    """edge("job:1", "dataset_version:2") -> EdgeSpec in the slot "table"."""

    def make(source, target, role="table"):
        (kind, id), (other, other_id) = source.split(":"), target.split(":")
        return EdgeSpec.between(End(kind, id, label=source), End(other, other_id, label=target), role)

    return make


@pytest.fixture
def chain(edge):
    """chain(n) -> edges of a row of n jobs: job:1 -> job:2 -> ... -> job:n."""
    return lambda count: [edge(f"job:{n}", f"job:{n + 1}") for n in range(1, count)]
