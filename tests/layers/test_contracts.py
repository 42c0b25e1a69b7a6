"""The contracts in pyproject.toml hold, and each notices violations that are planted in a copy of the tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("controlplane", "workers", "apps", "deepseek")

PLANTED = [  # file, its line, the contract that it breaks, what the report says of it
    (
        "deepseek/clean/planted_1.py",
        "import apps.core.errors",
        "Four layers",
        "deepseek.clean.planted_1 -> apps.core.errors",
    ),
    (
        "apps/platform/jobs/planted_2.py",
        "import workers.kinds",
        "Four layers",
        "apps.platform.jobs.planted_2 -> workers.kinds",
    ),
    ("workers/planted_3.py", "import controlplane.settings", "Four layers", "workers.planted_3 -> controlplane"),
    (
        "apps/platform/audit/planted_4.py",
        "from apps.platform.jobs import models",
        "Within platform",
        "apps.platform.audit.planted_4 -> apps.platform.jobs",
    ),
    (
        "apps/platform/jobs/planted_5.py",
        "from apps.data.datasets import models",
        "Districts import",
        "apps.platform.jobs.planted_5 -> apps.data",
    ),
    ("apps/core/canonical.py", "import apps.core.policy", "Within core", "apps.core.canonical -> apps.core.policy"),
    ("apps/planted_6/__init__.py", "", "Districts import", "planted_6"),
    ("deepseek/clean/planted_8.py", "import celery", "The engine knows", "deepseek.clean.planted_8 -> celery"),
    ("deepseek/noop/planted_9.py", "import socket", "The engine knows", "deepseek.noop.planted_9 -> socket"),
    ("apps/data/datasets/planted_10.py", "import pandas", "Only the engine", "apps.data.datasets.planted_10 -> pandas"),
    ("controlplane/planted_11.py", "import numpy", "Only the engine", "controlplane.planted_11 -> numpy"),
    ("deepseek/agent/planted_15.py", "import torch", "The agent is", "deepseek.agent.planted_15 -> torch"),
    ("deepseek/signing/planted_14.py", "import pydantic", "Signing is", "deepseek.signing.planted_14 -> pydantic"),
    ("deepseek/tables/csv_faults.py", "import pyarrow", "The CSV reader", "deepseek.tables.csv_faults -> pyarrow"),
    (
        "deepseek/tables/planted_12.py",
        "import deepseek.quality.report",
        "Tables in the engine",
        "deepseek.tables.planted_12 -> deepseek.quality.report",
    ),
    (
        "deepseek/quality/planted_13.py",
        "import deepseek.clean.run",
        "Tables in the engine",
        "deepseek.quality.planted_13 -> deepseek.clean.run",
    ),
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def plant(tree: Path) -> None:
    for path, line, *_ in PLANTED:
        (tree / path).parent.mkdir(exist_ok=True)
        with (tree / path).open("a") as file:
            file.write(f"\n{line}\n")


def split_by_contract(report: str) -> dict[str, str]:
    """Name of each broken contract -> what the report says of it."""
    details = report.partition("Broken contracts\n")[2]
    parts = re.split(r"^(.+)\n-{9,}\n", details, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_contracts_hold_and_each_planted_violation_is_reported(tree):
    clean = lint(tree)
    assert clean.returncode == 0, clean.stdout
    plant(tree)
    report = lint(tree)
    assert report.returncode != 0
    broken = split_by_contract(report.stdout)
    unnoticed = [
        (path, line)
        for path, line, contract, text in PLANTED
        if not any(name.startswith(contract) and text in details for name, details in broken.items())
    ]
    assert unnoticed == [], report.stdout
