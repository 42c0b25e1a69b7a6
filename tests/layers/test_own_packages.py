"""Our packages are found before installed ones of the same name."""

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("apps", "benchmarks", "controlplane", "deepseek", "tests", "workers")


def test_no_installed_package_hides_ours():
    """The wheel of opacus has a package `benchmarks`, which hides a folder without an __init__.py."""
    specs = {name: find_spec(name) for name in PACKAGES}
    assert {name: spec and spec.origin for name, spec in specs.items()} == {
        name: str(ROOT / name / "__init__.py") for name in PACKAGES
    }
