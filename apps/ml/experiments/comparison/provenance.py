"""Compare the provenance of runs: data, code and environment, with the lines that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import SOURCE_TAGS, ComparedRow

ENGINE = "deepseek-offline"  # the package of the engine, whose source files the code digest is of


@dataclass(frozen=True, slots=True)
class RowDifference:
    """The lines that differ, and how many are the same in all runs that are compared."""

    rows: list[ComparedRow]
    equal: int

    @classmethod
    def of(cls, rows: Sequence[ComparedRow], *, always: Sequence[str] = ()) -> RowDifference:
        """`always`: keys of lines that are shown whether they differ or not. A line that no run has is none."""
        recorded = [row for row in rows if any(row.values)]
        visible = [row for row in recorded if row.differs or row.key in always]
        return cls(visible, len(recorded) - len(visible))


def compare_code(runs: Sequence[Run], tags: Mapping[str, Mapping[str, str]]) -> RowDifference:
    """Data and code. Where the code differs, the version of the engine is told as well: it may be the same.

    `tags`: {run: its tags of SOURCE_TAGS}, which clients give.
    """
    digests = ComparedRow(_("code"), [run.code_digest for run in runs])
    engine = ComparedRow(_("engine"), [get_packages(run).get(ENGINE, "") for run in runs])
    slots = sorted({slot for run in runs for slot in run.inputs})
    rows = [
        ComparedRow(_("input %(slot)s") % {"slot": slot}, [run.inputs.get(slot, "") for run in runs]) for slot in slots
    ]
    rows += [digests, engine]
    rows += [ComparedRow(key, [tags.get(run.pk, {}).get(key, "") for run in runs]) for key in SOURCE_TAGS]
    return RowDifference.of(rows, always=(engine.key,) if digests.differs else ())


def compare_environment(runs: Sequence[Run]) -> RowDifference:
    """Compare packages and hardware."""
    packages = [get_packages(run) for run in runs]
    names = sorted({name for run_packages in packages for name in run_packages if name != ENGINE})
    facts = (
        ("python", "Python"),
        ("platform", _("platform")),
        ("node", _("node")),
        ("processor", _("processor")),
        ("cpus", _("CPUs")),
        ("threads", _("threads")),
    )
    rows = [ComparedRow(word, [run.environment.get(key, "") for run in runs]) for key, word in facts]
    rows.append(ComparedRow(_("memory, bytes"), [run.environment.get("memory_bytes", "") for run in runs]))
    if any(run.environment.get("image") for run in runs):
        rows.append(ComparedRow(_("image"), [format_image(run) for run in runs]))
    rows.append(ComparedRow("GPU", [format_gpus(run) for run in runs]))
    rows += [ComparedRow(name, [run_packages.get(name, "") for run_packages in packages]) for name in names]
    return RowDifference.of(rows)


def get_packages(run: Run) -> Mapping[str, Any]:
    packages = run.environment.get("packages")
    return packages if isinstance(packages, dict) else {}


def format_image(run: Run) -> str:
    """Name and short digest of the image that a script ran in."""
    image = run.environment.get("image")
    return f"{image.get('name', '')} ({str(image.get('digest', ''))[7:19]})" if isinstance(image, dict) else ""


def format_gpus(run: Run) -> str:
    return ", ".join(f"{gpu.get('name')} ({gpu.get('driver')})" for gpu in run.environment.get("gpus") or ())
