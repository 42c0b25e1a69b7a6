"""The report as text, JSON and HTML; and what its exit code says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from deepseek.doctor.execution import CheckResult
from deepseek.doctor.findings import VERDICTS
from deepseek.doctor.rules import Rule

FORMAT = "deepseek-doctor/1"
MARKS = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "unknown": "?", "not_applicable": "-"}
ALL_OK, WARNINGS, FAILURES = 0, 1, 3
"""Exit codes; 2 is an input at fault, as of every command of ours."""

STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2024;background:#fff}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #ddd}
.fail{color:#b3261e;font-weight:600}.warn{color:#8a5a00;font-weight:600}.unknown{color:#5b3fa0}.ok{color:#1a6b2f}
.not_applicable{color:#60646c}code{font-size:.92em}
"""


def compute_exit_code(results: Sequence[CheckResult]) -> int:
    """0: nothing to do; 1: warnings, or something could not be measured; 3: a check failed."""
    verdicts = {result.finding.verdict for result in results}
    return FAILURES if "fail" in verdicts else WARNINGS if verdicts & {"warn", "unknown"} else ALL_OK


def count_verdicts(results: Sequence[CheckResult]) -> dict[str, int]:
    verdicts = [result.finding.verdict for result in results]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def build_document(results: Sequence[CheckResult], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON report. A node where a check with `blocking` failed takes no jobs."""
    return {
        "format": FORMAT,
        **facts,
        "counts": count_verdicts(results),
        "checks": [build_row(result) for result in results],
    }


def build_row(result: CheckResult) -> dict[str, Any]:
    rule, finding = result.rule, result.finding
    return {
        "id": rule.id,
        "group": rule.group,
        "what": rule.what,
        "verdict": finding.verdict,
        "why": finding.why,
        "purpose": rule.why,
        "measured": rule.measured,
        "remedy": rule.remedy if finding.verdict in ("fail", "warn", "unknown") else "",
        "level": rule.level,
        "required": rule.required,
        "seconds": result.seconds,
    }


def render_json(results: Sequence[CheckResult], facts: Mapping[str, Any]) -> str:
    return json.dumps(build_document(results, facts), indent=1, ensure_ascii=False) + "\n"


def render_text(results: Sequence[CheckResult], facts: Mapping[str, Any], *, is_verbose: bool = False) -> str:
    """A line for each group, and below it what is not in order; with `is_verbose` every check."""
    lines = []
    for group, rows in group_results(results).items():
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in count_verdicts(rows).items() if count)
        lines.append(f"{group}: {counts}")
        for row in rows:
            if is_verbose or row.finding.verdict in ("fail", "warn", "unknown"):
                lines.append(f"  {MARKS[row.finding.verdict]:4} {row.rule.id:18} {row.finding.why}")
                if row.finding.verdict in ("fail", "warn"):
                    lines.append(f"{'':24} {row.rule.remedy}")
    total = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in count_verdicts(results).items())
    lines += [
        "",
        f"{len(results)} checks on {facts['host']} at level {facts['level']} in {facts['seconds']} s: {total}.",
    ]
    if blocking := [result.rule.id for result in results if result.is_blocking]:
        lines.append(f"Required for jobs, and failed: {', '.join(blocking)}.")
    return "\n".join(lines) + "\n"


def group_results(results: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        groups.setdefault(result.rule.group, []).append(result)
    return groups


def render_html(results: Sequence[CheckResult], facts: Mapping[str, Any]) -> str:
    """One page without a script or an address: it can be mailed and printed. The worst first in each group."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in count_verdicts(results).items())
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Health of {escape(str(facts['host']))}</title>",
        f"<style>{STYLE}</style><h1>Health of {escape(str(facts['host']))}</h1>",
        f"<p>{len(results)} checks at level {facts['level']}, {escape(str(facts['at']))}: {counts}.</p>",
    ]
    for group, rows in group_results(results).items():
        parts.append(f"<h2>{escape(group)}</h2><table><tr><th>Verdict<th>Check<th>Result<th>How measured<th>Remedy")
        for row in sorted(rows, key=lambda each: VERDICTS.index(each.finding.verdict)):
            verdict, rule = row.finding.verdict, row.rule
            remedy = rule.remedy if verdict in ("fail", "warn", "unknown") else ""
            cells = (f"<code>{escape(rule.id)}</code> {escape(rule.what)}", escape(row.finding.why))
            more = (escape(rule.measured), escape(remedy))
            parts.append(f"<tr><td class={verdict}>{verdict.replace('_', ' ')}<td>{'<td>'.join((*cells, *more))}")
        parts.append("</table>")
    return "\n".join(parts) + "</html>\n"


def render_list(rules: Sequence[Rule], form: str) -> str:
    """What there is to check: `--list`."""
    if form == "json":
        rows = [
            {
                "id": rule.id,
                "group": rule.group,
                "what": rule.what,
                "why": rule.why,
                "measured": rule.measured,
                "remedy": rule.remedy,
                "level": rule.level,
                "required": rule.required,
                "thresholds": dict(rule.thresholds),
            }
            for rule in rules
        ]
        return json.dumps({"checks": rows}, indent=1, ensure_ascii=False) + "\n"
    lines = [
        f"{rule.id:20} {rule.level} {'required' if rule.required else '':9} {rule.group:22} {rule.what}"
        for rule in rules
    ]
    return "\n".join(lines) + "\n"
