"""The table of checks as data: what each is, its remedy, level and thresholds. A site's file goes over ours.

`checks.toml` has a table for each check, `[cpu.count]`, in the order of the report. Texts: what, why, measured, remedy.
`level` 1 to 3, `required` (a node where it fails takes no jobs), and thresholds by name with their unit in the name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepseek.job import EngineError

TEXTS = ("what", "why", "measured", "remedy")
LEVELS = (1, 2, 3)
MAX_SETTINGS_BYTES = 1 << 20


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    id: str
    group: str
    what: str
    why: str
    measured: str
    remedy: str
    level: int
    required: bool
    thresholds: Mapping[str, Any]

    def number(self, name: str) -> float:
        value = self.thresholds[name]
        return value if isinstance(value, int) else float(value)

    def text(self, name: str) -> str:
        return str(self.thresholds[name])

    def texts(self, name: str) -> list[str]:
        return [str(value) for value in self.thresholds[name]]


def load_rules(site_file: Path | None = None) -> dict[str, Rule]:
    """Every check by id, in the order of the report. Raises EngineError ``bad_doctor_settings`` for the site's file."""
    document = tomllib.loads(files("deepseek.doctor").joinpath("checks.toml").read_text(encoding="utf-8"))
    groups = document.pop("groups")
    rows = {f"{area}.{name}": dict(row) for area, rows in document.items() for name, row in rows.items()}
    if site_file is not None:
        _override(rows, _read_site_file(site_file), site_file)
    return {check_id: _build_rule(check_id, row, groups) for check_id, row in rows.items()}


def _build_rule(check_id: str, row: dict[str, Any], groups: Mapping[str, str]) -> Rule:
    texts = {name: str(row.pop(name)) for name in TEXTS}
    level, required = int(row.pop("level", 1)), bool(row.pop("required", False))
    return Rule(
        id=check_id, group=find_group(check_id, groups), level=level, required=required, thresholds=row, **texts
    )


def find_group(check_id: str, groups: Mapping[str, str]) -> str:
    """The title of a check's group: of its own id, where the area is in two groups, else of its area."""
    return groups.get(check_id) or groups[check_id.partition(".")[0]]


def _read_site_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_SETTINGS_BYTES:
            raise _build_error(path, "it is too long", str(path), f"at most {MAX_SETTINGS_BYTES} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _build_error(path, str(error.strerror), str(path), "a TOML file that can be read") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _build_error(path, f"it is no TOML: {str(error)[:200]}", str(path), "TOML in UTF-8") from None


def _override(rows: dict[str, dict[str, Any]], site: Mapping[str, Any], path: Path) -> None:
    for area, checks in site.items():
        if not isinstance(checks, Mapping) or not all(isinstance(row, Mapping) for row in checks.values()):
            raise _build_error(path, f"{area} is no table of checks", str(area), "tables such as [cpu.count]")
        for name, row in checks.items():
            check_id = f"{area}.{name}"
            if check_id not in rows:
                raise _build_error(path, f"there is no check {check_id}", check_id, "an id that --list prints")
            for key, value in row.items():
                rows[check_id][key] = _check_value(path, f"{check_id}.{key}", value, rows[check_id].get(key), key)


def _check_value(path: Path, field: str, value: Any, ours: Any, key: str) -> Any:
    """The site's value, if it is of the kind that ours is."""
    if key in ("level", "required"):
        ours = 1 if key == "level" else False
    if key == "level" and value not in LEVELS:
        raise _build_error(path, f"{field} is {value!r}", str(value)[:80], "1, 2 or 3")
    kinds = (int, float) if isinstance(ours, int | float) and not isinstance(ours, bool) else (type(ours),)
    is_fitting = isinstance(value, kinds) and isinstance(value, bool) == isinstance(ours, bool)
    if ours is None or not is_fitting:
        limit = "no such threshold" if ours is None else f"a value like {ours!r}"
        raise _build_error(path, f"{field} is {str(value)[:80]!r}", str(value)[:80], limit)
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise _build_error(path, f"{field} holds something else than texts", str(value)[:80], "a list of texts")
    return value


def _build_error(path: Path, what: str, value: str, limit: str) -> EngineError:
    return EngineError(
        "bad_doctor_settings",
        "The settings in {path} are not used: {what}.",
        path=str(path),
        what=what,
        field="--settings",
        value=value,
        limit=limit,
        hint="deepseek-doctor --list --format json prints every check with its thresholds.",
    )
