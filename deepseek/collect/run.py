"""Collect records from sites: the entry point of the capability.

This process has no network. It starts one that does (deepseek/collect/fetcher.py), tells what that tells, and makes the
outputs from what it has left. A run that is started again begins anew: all records of a version are of one collection.
"""

import importlib.util
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepseek.collect.process import start_fetcher
from deepseek.collect.spec import CollectSpec, find_uncovered
from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_, Message, record_messages

TABLE_TYPE = "application/vnd.apache.parquet"
REPORT_TYPE = "application/vnd.plane.fetch-report+json"
ALLOWED = "COLLECT_HOSTS"
"""The operator's list, comma-separated; the worker hands it on, a person at a command line sets it."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member of the archive: the earliest that the format knows."""


class CollectResult(Result):
    """Outputs ``records``, ``quality``, ``report`` and, if they are kept, ``bodies``."""


def run(spec: CollectSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> CollectResult:
    """Collect what the spec describes and write the outputs into the folder `out`; there are no `inputs`.

    Raises EngineError for a host off the operator's list, a selector that cannot be read, what is not installed, where
    no page or too few could be fetched, and where an error of the expectations does not hold; then, as after a crash,
    there is no `out`.
    """
    if inputs:
        raise EngineError("wrong_inputs", "Collecting takes no input.", field="inputs", value=", ".join(sorted(inputs)))
    allowed = require_allowed_hosts(spec)
    require_installed(spec)
    from deepseek.collect.extract import check_selectors

    check_selectors(spec)
    with stage_outputs(out) as stage:
        work = stage / ".work"
        work.mkdir()
        fetch_report = _fetch(spec, allowed, work, report)
        if not fetch_report["pages"]["fetched"]:
            raise _build_nothing_fetched_error(fetch_report)
        result = _write(spec, stage, work, fetch_report, report)
        shutil.rmtree(work)
        return result


def require_allowed_hosts(spec: CollectSpec) -> list[str]:
    """The hosts that the operator allows; raises EngineError unless they hold all that the spec allows."""
    allowed = [part.strip() for part in os.environ.get(ALLOWED, "").split(",") if part.strip()]
    if not allowed:
        raise EngineError(
            "collection_off",
            "Collection is off: {allowed} names no host.",
            allowed=ALLOWED,
            field="/allowed_hosts",
            value=", ".join(spec.allowed_hosts)[:200],
            limit="nothing",
            hint=Message(
                "Set {allowed} to the internal hosts that may be collected from, comma-separated.", allowed=ALLOWED
            ),
        )
    try:
        outside = find_uncovered(spec.allowed_hosts, allowed)
    except ValueError as failure:
        raise EngineError(
            "bad_host_list", "{allowed} cannot be read: {failure}.", allowed=ALLOWED, failure=failure, field=ALLOWED
        ) from None
    if outside:
        host = spec.allowed_hosts[outside[0]]
        raise EngineError(
            "host_not_allowed",
            "The host {host} is not on the list of hosts that may be collected from.",
            host=host,
            field=f"/allowed_hosts/{outside[0]}",
            value=host,
            limit=", ".join(allowed),
            hint=Message(
                "Take a host of the list, or have the operator add {host} to {allowed}.", host=host, allowed=ALLOWED
            ),
        )
    return allowed


def require_installed(spec: CollectSpec) -> None:
    """Raises EngineError for what the spec needs and this machine lacks."""
    missing = [name for name in ("scrapy", "selenium") if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            "extra_missing",
            "Collecting needs {missing}, which this installation does not have.",
            missing=" and ".join(missing),
            value=", ".join(missing),
            limit="requirements-collect.txt",
            hint=N_("pip install 'deepseek-offline[collect]'"),
        )
    if spec.extra == "collect-browser":
        from deepseek.collect.browser import find_browser

        if find_browser() is None:
            index = next(i for i, page in enumerate(spec.pages) if page.render == "browser")
            raise EngineError(
                "browser_missing",
                "A page is to be rendered in a browser, and this machine lacks Chromium or its driver.",
                field=f"/pages/{index}/render",
                value="browser",
                limit="chromium and chromedriver on the PATH",
                hint=N_("Install the packages chromium and chromium-driver, or render plainly."),
            )


def _fetch(spec: CollectSpec, allowed: list[str], work: Path, report: Report) -> dict[str, Any]:
    """Let the fetching process do its work, and tell what it tells; returns the fetch report."""
    report.progress(0, None, "pages", stage="collect")
    with start_fetcher(spec, allowed, work) as events:
        for event in events:
            match event["event"]:
                case "progress":
                    report.progress(event["done"], event["total"], "pages", stage="collect")
                case "log":
                    report.log(event["text"], level=event["level"])
                case "error":
                    names = ("field", "value", "limit", "hint")
                    raise EngineError(event["code"], event["message"], **{name: event[name] for name in names})
                case "done":
                    return dict(event["report"])
    raise RuntimeError("The fetching process ended without saying how; the lines above say why.")


def _build_nothing_fetched_error(fetch_report: Mapping[str, Any]) -> EngineError:
    """No page could be fetched at all: that is no version of anything."""
    first: dict[str, Any] = (
        fetch_report["errors"][0] if fetch_report["errors"] else {"kind": "none", "count": 0, "examples": []}
    )
    example = first["examples"][0] if first["examples"] else {"url": "", "message": Message("nothing was asked for")}
    return EngineError(
        "nothing_fetched",
        "No page could be fetched. {count} times {kind}: {url}: {text}",
        count=first["count"],
        kind=first["kind"],
        url=example["url"],
        text=example["message"],
        field="/start_urls",
        value=example["url"] or None,
        limit="at least one page",
        hint=N_("Look at the log for every page and what became of it."),
    )


def _write(spec: CollectSpec, stage: Path, work: Path, fetch_report: dict[str, Any], report: Report) -> CollectResult:
    from deepseek.collect.tables import build_schema, write_records
    from deepseek.quality.expectations import check_expectations, refuse_failures
    from deepseek.quality.expectations import list_expectation_warnings as broken_warnings
    from deepseek.quality.report import MEDIA_TYPE, build_quality_report
    from deepseek.tables.sources import ParquetBatches

    schema = build_schema(spec)
    report.progress(0, fetch_report["records"], "rows", stage="write")
    rows = write_records(work / "records.jsonl", stage / "records.parquet", schema)
    records = ParquetBatches(stage / "records.parquet")
    results = check_expectations(records, spec.expectations)
    refuse_failures(results)
    warnings = [*list_warnings(fetch_report), *broken_warnings(results)]
    for warning in warnings:
        report.log(warning, level="warning")

    def advance(done: int) -> None:
        report.progress(done, rows, "rows", stage="profile")

    quality = {**build_quality_report(records, warnings=warnings, advance=advance), "expectations": results}
    _write_json(stage / "quality.json", quality)
    _write_json(stage / "report.json", {"schema": "plane/fetch-report/v2", **fetch_report})
    columns: list[JSON] = [{"name": field.name, "dtype": str(field.type)} for field in schema]
    outputs = [
        Output("records", "records.parquet", TABLE_TYPE, {"rows": rows, "columns": columns}),
        Output("quality", "quality.json", MEDIA_TYPE),
        Output("report", "report.json", REPORT_TYPE),
    ]
    if spec.keep_bodies:
        pages = _write_bodies(work / "bodies", stage / "bodies.zip", report)
        outputs.append(Output("bodies", "bodies.zip", "application/zip", {"pages": pages}))
    for name in ("fetched", "failed", "robots_denied", "refused"):
        report.metric(f"pages_{name}", fetch_report["pages"][name])
    report.metric("records", rows)
    report.metric("bytes", fetch_report["bytes"])
    summary: dict[str, JSON] = {
        "records": rows,
        "pages": fetch_report["pages"],
        "errors": {error["kind"]: error["count"] for error in fetch_report["errors"]},
        "refused": {f"{row['code']} {row['what']}": row["count"] for row in fetch_report["refused"]},
        "links_off_list": fetch_report["links_off_list"],
        "bytes": fetch_report["bytes"],
        "stopped": fetch_report["stopped"],
        "warnings": list(warnings),
    }
    return CollectResult(tuple(outputs), summary)


def list_warnings(fetch_report: Mapping[str, Any]) -> list[str]:
    """What a reader of the records should know: ends with what was left out."""
    pages, warnings = fetch_report["pages"], []
    if fetch_report["stopped"]:
        warnings.append(
            f"The collection ended at its limit {fetch_report['stopped']}: what was found by then is there."
        )
    if pages["left"]:
        warnings.append(f"{pages['left']} links were not followed: max_pages was reached.")
    warnings += [f"{error['count']} pages are missing: {error['kind']}." for error in fetch_report["errors"]]
    warnings += [
        f"{count} items were left out: they lack the required field {name!r}."
        for name, count in fetch_report["dropped"].items()
    ]
    warnings += [
        f"{count} values of the field {name!r} could not be read." for name, count in fetch_report["unreadable"].items()
    ]
    if not fetch_report["records"]:
        warnings.append("No page had an item: look at the selectors.")
    return warnings


def _write_bodies(folder: Path, path: Path, report: Report) -> int:
    """The pages by their numbers, in one archive; the digest of each is in the records."""
    files = sorted(folder.iterdir())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for done, file in enumerate(files, start=1):
            member = zipfile.ZipInfo(file.name, EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, file.read_bytes())
            report.progress(done, len(files), "pages", stage="keep pages")
    return len(files)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(record_messages(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
