"""The steps of a plan written down once more, row by row in plain Python: what the engine is compared with."""

import math
import statistics
import unicodedata
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np


def plain(rows, columns, steps):
    """`rows`: list of dicts. Returns (rows, origins)."""
    table = [dict(row, **{"": place}) for place, row in enumerate(rows)]
    for step in steps:
        table, columns = globals()[step["kind"]](table, list(columns), step)
    return [{name: row[name] for name in columns} for row in table], [row[""] for row in table]


def numeric(table, columns, step):
    return step.get("columns") or [c for c in columns if c in ("x", "k", "y")]


def column(table, name):
    return [row[name] for row in table]


def put(table, name, values):
    for row, value in zip(table, values, strict=True):
        row[name] = value


def fill_median(table, columns, step):
    half = step.get("window_size", 5) // 2
    for name in numeric(table, columns, step):
        values = column(table, name)
        after = list(values)
        for place, value in enumerate(values):
            if value is None:
                window = [v for v in values[max(0, place - half) : place + half + 1] if v is not None]
                after[place] = float(np.median(window)) if window else None
        put(table, name, after)
    return table, columns


def fill_forward(table, columns, step):
    for name in step.get("columns") or columns:
        last, away = None, 0
        for row in table:
            if row[name] is not None:
                last, away = row[name], 0
            else:
                away += 1
                if last is not None and away <= (step.get("limit") or math.inf):
                    row[name] = last
    return table, columns


def fill_backward(table, columns, step):
    fill_forward(table[::-1], columns, step)
    return table, columns


def fill_linear(table, columns, step):
    for name in numeric(table, columns, step):
        values = column(table, name)
        axis = list(range(len(values)))
        known = [place for place, value in enumerate(values) if value is not None]
        for left, right in pairwise(known):
            for place in range(left + 1, right):
                share = (axis[place] - axis[left]) / (axis[right] - axis[left])
                table[place][name] = values[left] + (values[right] - values[left]) * share
    return table, columns


def fill_constant(table, columns, step):
    for name in step["columns"]:
        for row in table:
            if row[name] is None:
                row[name] = step["value"] if name == "t" else float(step["value"])
    return table, columns


def fill_group(table, columns, step):
    names = [n for n in numeric(table, columns, step) if step.get("columns") or n not in step["by"]]
    which = np.median if step.get("statistic", "median") == "median" else statistics.fmean
    before = [dict(row) for row in table]
    for name in names:
        for row in table:
            if row[name] is None:
                same = [b[name] for b in before if all(b[k] == row[k] for k in step["by"]) and b[name] is not None]
                row[name] = float(which(same)) if same else None
    return table, columns


def drop_missing(table, columns, step):
    names = step.get("columns") or columns
    test = any if step.get("when", "any") == "any" else all
    return [row for row in table if not test(row[name] is None for name in names)], columns


def outliers(table, columns, step):
    for name in numeric(table, columns, step):
        values = np.array([v for v in column(table, name) if v is not None], dtype=float)
        if not values.size:
            continue
        match step.get("method", "iqr"):
            case "iqr":
                a, b = np.quantile(values, (0.25, 0.75))
                low, high = a - 1.5 * (b - a), b + 1.5 * (b - a)
            case "quantile":
                low, high = np.quantile(values, (step.get("low", 0.01), step.get("high", 0.99)))
            case "robust_z":
                median = np.median(values)
                mad = np.median(np.abs(values - median))
                reach = 3.5 * mad / 0.6745 if mad else math.inf
                low, high = median - reach, median + reach
            case "z_score":
                deviation = values.std(ddof=1) if values.size > 1 else 0
                reach = 3 * deviation if deviation > 1e-12 else math.inf
                low, high = values.mean() - reach, values.mean() + reach
        for row in table:
            value = row[name]
            if value is not None and not low <= value <= high:
                row[name] = None if step["action"] == "blank" else float(min(max(value, low), high))
    return table, columns


def hampel(table, columns, step):
    half = step.get("window_size", 7) // 2
    for name in numeric(table, columns, step):
        values = column(table, name)
        for place, value in enumerate(values):
            window = np.array([v for v in values[max(0, place - half) : place + half + 1] if v is not None])
            if value is None:
                continue
            median = np.median(window)
            if abs(value - median) > step.get("threshold", 3.0) * 1.4826 * np.median(np.abs(window - median)):
                table[place][name] = None if step["action"] == "blank" else float(median)
    return table, columns


def convert(table, columns, step):
    for name in step["columns"]:
        put(table, name, [None if v is None else v * step["multiply"] + step["add"] for v in column(table, name)])
    return table, columns


def deduplicate(table, columns, step):
    seen = {}
    for place, row in enumerate(table):
        key = tuple(row[name] for name in step.get("columns") or columns)
        if key not in seen or step.get("keep") == "last":
            seen[key] = place
    return [table[place] for place in sorted(seen.values())], columns


def filter(table, columns, step):
    def holds(row, one):
        value, op = row[one["column"]], one["op"]
        if op in ("is_missing", "is_present"):
            return (value is None) == (op == "is_missing")
        if value is None:
            return False
        wanted = one["value"] if one["column"] == "t" else float(one["value"])
        return {"gt": value > wanted, "le": value <= wanted, "eq": value == wanted, "ne": value != wanted}[op]

    test = all if step.get("match", "all") == "all" else any
    return [row for row in table if test(holds(row, one) for one in step["conditions"])], columns


def derive(table, columns, step):
    """Only ``x * 2 + k``."""
    for row in table:
        row["y"] = None if row["x"] is None or row["k"] is None else row["x"] * 2 + row["k"]
    return table, [*columns, *(["y"] if "y" not in columns else [])]


def normalise_text(table, columns, step):
    for name in ("t",):
        for row in table:
            if row[name] is not None:
                row[name] = " ".join(unicodedata.normalize("NFKC", row[name]).split()).upper() or None
    return table, columns


def regularise(table, columns, step):
    """Days of the column d; the first value of each day."""
    by_day = {}
    for row in table:
        by_day.setdefault(row["d"].replace(hour=0), row)
    made, day = [], min(by_day)
    while day <= max(by_day):
        empty = dict.fromkeys([*columns, ""])
        made.append({**by_day.get(day, empty), "d": day})
        day += timedelta(days=1)
    return made, columns


def day(number):
    return datetime(2024, 1, 1) + timedelta(hours=number)
