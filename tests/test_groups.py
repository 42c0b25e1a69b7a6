"""Tests that share what there is only one of (a browser's plane, a port, a network namespace) stay in one process."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process keeps everything together")
def test_marks_of_groups_are_heeded(request):
    assert request.node.nodeid.endswith("@groups")
