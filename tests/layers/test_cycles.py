"""No module imports itself by way of others."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def find_cycle(graph: grimp.ImportGraph) -> list[str]:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as cycle:
        return list(cycle.args[1])
    return []


@pytest.fixture
def graph() -> grimp.ImportGraph:
    packages = ("controlplane", "workers", "apps", "deepseek")
    return grimp.build_graph(*packages, cache_dir=None, exclude_type_checking_imports=True)


def test_there_is_no_cycle(graph):
    assert find_cycle(graph) == []


def test_a_cycle_is_found(graph):
    graph.add_import(importer="apps.core.errors", imported="apps.platform.jobs.services")
    assert "apps.core.errors" in find_cycle(graph)
