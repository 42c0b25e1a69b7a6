"""Templates include and extend downwards only, as modules import, and template tags stand in apps/web alone.

The tags and templates of apps/web may read every app. A link by URL name is allowed in any direction.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS, TEMPLATES = ROOT / "apps", ROOT / "templates"
INCLUDED = re.compile(r"""{%\s*(?:include|extends)\s+["'](\w+)/""")


def load_districts() -> list[str]:
    """The districts from the top down, as the import contract lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["name"] == "Districts import downwards only")
    return [name.strip("()") for name in layers]


DISTRICTS = load_districts()


def find_district(folder: str) -> str | None:
    """The district of a folder of templates; None for what every page is made of, such as components."""
    return next(
        (name for name in DISTRICTS if any((APPS / name / at).exists() for at in (folder, f"{folder}.py"))), None
    )


def list_upward_includes(folder: str, source: str) -> list[str]:
    district = find_district(folder)
    if district is None:
        return []
    above = DISTRICTS[: DISTRICTS.index(district)]
    return [included for included in INCLUDED.findall(source) if find_district(included) in above]


def test_no_template_includes_one_of_a_district_above() -> None:
    found = {
        str(path.relative_to(TEMPLATES)): upward
        for path in sorted(TEMPLATES.rglob("*.html"))
        if (upward := list_upward_includes(path.relative_to(TEMPLATES).parts[0], path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_an_include_upwards_is_found() -> None:
    source = '{% extends "jobs/base.html" %}{% include "components/stat.html" %}{% include "registry/card.html" %}'
    assert list_upward_includes("jobs", source) == ["registry"]
    assert list_upward_includes("registry", source) == []
    assert list_upward_includes("jobs", '{% include "home/card.html" %}') == ["home"]


def test_tags_stand_in_web_alone() -> None:
    assert [str(path.relative_to(APPS)) for path in APPS.rglob("templatetags")] == ["web/templatetags"]
