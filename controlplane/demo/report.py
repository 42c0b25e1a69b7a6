"""What the demo measured, as tables on a terminal. It says figures and asserts none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from rich.table import Table


def count_missing(report: Mapping[str, Any]) -> dict[str, int]:
    return {column["name"]: column["missing"] for column in report["columns"]}


def build_quality_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    table = Table(title=f"Quality before and after, {after['rows']:,} rows, {date.today():%Y-%m-%d}")
    for heading in ("column", "missing", "", "mean", "", "std", ""):
        table.add_column(heading, justify="left" if heading == "column" else "right")
    later = {column["name"]: column for column in after["columns"]}
    for column in before["columns"]:
        now = later.get(column["name"], {})
        cells = [column["name"], f"{column['missing']:,}", f"-> {now.get('missing', 0):,}"]
        for figure in ("mean", "std"):
            old, new = ((c.get("numeric") or {}).get(figure) for c in (column, now))
            cells += ["" if old is None else f"{old:.4f}", "" if new is None else f"-> {new:.4f}"]
        table.add_row(*cells)
    return table


def build_variants_table(version: Mapping[str, Any]) -> Table:
    """One row a form: size, latency and what was measured on held-out rows, against the form it was made from."""
    table = Table(title=f"{version['model']} v{version['number']}, figures on held-out rows")
    for heading in ("form", "bytes", "smaller", "batch", "µs a call", "faster", "measured"):
        table.add_column(heading, justify="left" if heading in ("form", "measured") else "right")
    for variant in version["variants"]:
        figures = variant["figures"]
        for place, latency in enumerate(figures["latency"] or [None]):
            first = place == 0
            table.add_row(
                variant["name"] if first else "",
                f"{figures['size_bytes']:,}" if first else "",
                format_ratio(figures["size_ratio"]) if first else "",
                *(format_latency(latency) if latency else ("", "", "")),
                format_metrics(figures["metrics"]) if first else "",
            )
    return table


def format_latency(latency: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(latency["batch"]), f"{latency['median_us']:.1f}", format_ratio(latency["ratio"])


def format_ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"


def format_metrics(metrics: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(format_metric(metric) for metric in metrics)


def format_metric(metric: Mapping[str, Any]) -> str:
    """`rmse 1.6123 [1.2, 2.1]`: the value and its interval."""
    interval = "" if metric["low"] is None else f" [{metric['low']:.4g}, {metric['high']:.4g}]"
    return f"{metric['name']} {metric['value']:.4g}{interval}"


def build_baseline_lines(version: Mapping[str, Any]) -> list[str]:
    """The trained form against its baseline, on the same rows."""
    figures = version["variants"][0]["figures"]
    baseline = figures["baseline"]
    if baseline is None:
        return []
    model = {metric["name"]: metric for metric in figures["metrics"]}
    return [
        f"{version['model']} v{version['number']}: {format_metric(model[baseline_metric['name']])}; "
        f"{baseline['name']}: {format_metric(baseline_metric)}"
        for baseline_metric in baseline["metrics"]
        if baseline_metric["name"] in model
    ]


def list_notes(version: Mapping[str, Any]) -> list[str]:
    return [f"{variant['name']}: {note}" for variant in version["variants"] for note in variant["figures"]["notes"]]


def build_golden_table(measured: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each form: all that was measured of it on the golden set."""
    first = measured[0]
    table = Table(title=f"{first['model']} v{first['version']} on {first['set']}, {first['rows']:,} rows")
    for heading in ("form", "job", "measured"):
        table.add_column(heading, justify="right" if heading == "job" else "left")
    for row in measured:
        table.add_row(row["variant"], f"#{row['job']}", "; ".join(format_metric(metric) for metric in row["metrics"]))
    return table


def build_gate_lines(gates: Mapping[str, Any]) -> list[str]:
    """What each gate asks for, and what it said when the promotion was asked for; now, where nobody has asked."""
    verdicts = {row["gate"]: row["verdict"] for row in reversed(gates["history"])}
    lines = []
    for row in gates["gates"]:
        gate = row["gate"]
        verdict = verdicts.get(gate["id"], row["verdict"]).replace("_", " ")
        lines.append(
            f"Gate of {gate['set_by']}: {gate['metric']} on {gate['set']} not worse than production by more than "
            f"{gate['margin']:g}, with {gate['confidence']:.0%} confidence. It said: {verdict}, "
            + ("let through." if row["lets_through"] else "refused.")
        )
    return lines


def get_values(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in metrics}
