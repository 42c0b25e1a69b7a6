"""The contracts in pyproject.toml hold, and each notices a violation: one is planted for each in a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("controlplane", "workers", "apps", "deepseek")

PLANTED = [
    ("deepseek/clean/planted.py", "import apps.errors", "Four layers"),
    ("apps/jobs/planted.py", "import workers.kinds", "Four layers"),
    ("workers/planted.py", "import controlplane.settings", "Four layers"),
    ("apps/audit/planted.py", "from apps.jobs import models", "Apps import downwards only"),
    ("apps/jobs/planted.py", "from apps.datasets import models", "Apps import downwards only"),
    ("apps/canonical.py", "import apps.policy", "Apps import downwards only"),
    ("apps/planted/__init__.py", "", "Apps import downwards only"),
    ("apps/jobs/planted.py", "from deepseek.clean.run import run", "Apps know of the engine only its specs"),
    ("deepseek/clean/planted.py", "import celery", "The engine knows no web"),
    ("deepseek/noop/planted.py", "import socket", "The engine knows no web"),
    ("apps/datasets/planted.py", "import pandas", "Only the engine computes"),
    ("controlplane/planted.py", "import numpy", "Only the engine computes"),
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_the_tree_keeps_its_contracts(tree):
    found = lint(tree)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(("path", "line", "contract"), PLANTED)
def test_a_planted_violation_is_named(tree, path, line, contract):
    planted = tree / path
    before = planted.read_text() if planted.exists() else None
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f"{before or ''}\n{line}\n")
    try:
        found = lint(tree)
    finally:
        planted.unlink() if before is None else planted.write_text(before)
        if path.startswith("apps/planted"):
            planted.parent.rmdir()
    broken = [row for row in found.stdout.splitlines() if row.rstrip().endswith("BROKEN")]
    assert found.returncode != 0
    assert any(row.startswith(contract) for row in broken) or contract in found.stdout, found.stdout
