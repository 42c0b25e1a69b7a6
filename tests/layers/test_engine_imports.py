"""Apps know of the engine its specs and a few light modules: an allow-list, which a new engine module is not on."""

from __future__ import annotations

import re
from collections.abc import Iterable

import grimp
import pytest

ALLOWED = re.compile(
    r"""deepseek\.\w+\.(\w+_)?spec          # what a job may be asked to do
      | deepseek\.(clean|train)\.plan     # what it would do, for the preview of a form
      | deepseek\.train\.schedule
      | deepseek\.drift\.(accuracy|estimates)  # the rule of a monitor, and the intervals of a page
      | deepseek\.diagnostics\.(document|samples)  # what a page draws of a model
      | deepseek\.quantize\.document      # and of its forms
      | deepseek\.fit\.(architectures|families|memory|remedies)  # the memory that it would need
      | deepseek\.tables\.csv_(dialect|dtypes|faults|records)  # the CSV reader that web process and engine share
      | deepseek\.tables\.part_manifest    # the digest of a table of Parquet parts, and the frames of their footers
      | deepseek\.tables\.rows\.range_file  # the messages of the child that reads rows
      | deepseek\.tables\.redaction        # what stands in place of a masked cell
      | deepseek\.clean\.personal_data    # which columns look like personal data
      | deepseek\.(messages|spec_errors)  # what people are told
      | deepseek\.doctor\.conflict_rules  # known conflicts of hardware
      | deepseek\.signing\.\w+            # releases and what devices sign
      | deepseek\.bundles\.\w+            # what is carried across an air gap
      | deepseek\.isolation\.(iptables|nftables|rules)  # a network policy as a node applies it
      | deepseek\.federated\.(code|credentials|errors|ledger|ledger_verifier)  # what a site approves, and its keys
      | deepseek\.environments\.(comparison|inventory)  # environments of nodes
      | deepseek\.labelling\.(label_studio|marks|schema)  # what annotators mark, and what it becomes there
      | deepseek\.code                    # the digest of the engine that ran
      | deepseek\.(job|models\.assets)     # the probe of pickles, and how the engine refuses one
    """,
    re.VERBOSE,
)


@pytest.fixture
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("apps", "deepseek", cache_dir=None)


def list_forbidden_imports(graph: grimp.ImportGraph) -> list[str]:
    return [
        f"{importer} -> {imported}"
        for importer, imported in list_imports(graph)
        if importer.startswith("apps.") and imported.startswith("deepseek.") and not ALLOWED.fullmatch(imported)
    ]


def list_imports(graph: grimp.ImportGraph) -> Iterable[tuple[str, str]]:
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            yield module, imported


def test_apps_import_only_what_is_allowed_of_the_engine(graph):
    assert list_forbidden_imports(graph) == []


def test_an_import_that_is_not_on_the_list_is_found(graph):
    graph.add_import(importer="apps.platform.jobs.services", imported="deepseek.clean.run")
    graph.add_import(importer="apps.data.datasets.models", imported="deepseek.tables.csv_blocks")
    assert list_forbidden_imports(graph) == [
        "apps.data.datasets.models -> deepseek.tables.csv_blocks",
        "apps.platform.jobs.services -> deepseek.clean.run",
    ]
