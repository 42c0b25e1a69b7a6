"""What a collection makes of a site: records in the order of discovery, with where each comes from."""

import hashlib
import json
import zipfile
from datetime import UTC, datetime

import pytest

from deepseek.collect.run import run
from deepseek.job import EngineError


def items(*pairs):
    return "".join(f"<li><a href='{href}'>{text}</a> <b>{price}</b></li>" for href, text, price in pairs)


def test_records_say_where_they_come_from(site, collect):
    body = f"<ul>{items(('/a', 'Ink', '1,200.5'), ('/b', 'Pen', '3'))}</ul>"
    url = site.page("/", body)
    rows, told, result = collect()
    assert [(row["name"], row["price"], row["page"], row["item"]) for row in rows] == [
        ("Ink", 1200.5, 1, 1),
        ("Pen", 3.0, 1, 2),
    ]
    first = rows[0]
    assert (first["source_url"], first["status"]) == (url, 200)
    assert first["digest"] == hashlib.sha256(body.encode()).hexdigest()
    assert abs((datetime.now(UTC) - first["fetched_at"]).total_seconds()) < 600
    assert [output.slot for output in result.outputs] == ["records", "quality", "report"]
    assert told["pages"]["fetched"] == 1


def test_lists_are_paged_and_links_followed_in_order(site, collect):
    site.page("/", f"{items(('/x', 'A', 1), ('/y', 'B', 2))}<a class=next href=/2>more</a>")
    site.page("/2", f"{items(('/z', 'C', 3), ('/', 'home', 4))}<a class=next href=/>around</a>")
    site.slow("/x", 0.3, items(("#", "X", 5)))
    site.page("/y", items(("/x", "Y", 6)))
    site.page("/z", items(("#", "Z", 7)))
    rows, told, _ = collect(follow={"next": "a.next", "links": "li", "max_depth": 1})
    assert [row["name"] for row in rows] == ["A", "B", "C", "home", "X", "Y", "Z"]
    assert [row["page"] for row in rows] == [1, 1, 2, 2, 3, 4, 5]
    assert told["pages"]["asked"] == 5
    assert set(site.asked.values()) == {1}  # robots.txt too


def test_robots_txt_is_obeyed_unless_there_is_a_reason(site, collect, tmp_path, spec, report):
    site.page("/robots.txt", "User-agent: *\nDisallow: /private", headers={"Content-Type": "text/plain"})
    site.page("/", items(("/private/1", "A", 1)))
    site.page("/private/1", items(("#", "P", 2)))
    rows, told, _ = collect(follow={"links": "li"})
    assert ([row["name"] for row in rows], told["pages"]["robots_denied"]) == (["A"], 1)
    assert site.asked["/private/1"] == 0
    mine = spec(follow={"links": "li"}, robots={"obey": False, "reason": "our own site, ticket 12"})
    result = run(mine, inputs={}, out=tmp_path / "all", report=report)
    assert result.summary["records"] == 2


def test_failures_are_counted_by_kind_and_the_rest_is_kept(site, collect):
    links = [("/gone", "A", 1), ("/broken", "B", 2), ("/huge", "C", 3), ("/slow", "D", 4), ("/data", "E", 5)]
    site.page("/", items(*links))
    site.page("/broken", "<p>oh</p>", status=500)
    site.page("/huge", "x" * 20_000)
    site.slow("/slow", 3.0)
    site.page("/data", b"%PDF", headers={"Content-Type": "application/pdf"})
    limits = {"max_page_bytes": 10_000, "page_seconds": 0.8}
    rows, told, result = collect(follow={"links": "li"}, limits=limits)
    assert len(rows) == 5
    kinds = {error["kind"]: error["count"] for error in told["errors"]}
    assert kinds == {"http_404": 1, "http_500": 1, "too_large": 1, "timeout": 1}
    assert [(row["page"], row["status"], row["why"]) for row in told["fetches"]] == [
        (1, 200, ""),
        (2, 404, "http_404"),
        (3, 500, "http_500"),
        (4, None, "too_large"),
        (5, None, "timeout"),
        (6, 200, ""),
    ]
    assert (told["fetches"][5]["bytes"], told["fetches"][1]["message"]) == (4, "The host answered 404.")
    assert (told["schema"], told["fetches_left_out"]) == ("plane/fetch-report/v2", 0)
    assert told["pages"]["not_html"] == 1
    assert any("http_500" in warning for warning in result.summary["warnings"])


def test_a_busy_server_is_asked_again(site, collect):
    site.page("/", items(("/", "A", 1)))
    answers = iter([(503, {}, b""), (200, {"Content-Type": "text/html"}, items(("#", "A", 1)).encode())])
    site.pages["/"] = lambda: next(answers)
    rows, _, _ = collect(rate={"requests_per_second": 100.0, "autothrottle": False, "retries": 1})
    assert [row["name"] for row in rows] == ["A"]


def test_gb18030_is_read_declared_or_not(site, collect):
    text = "<li><a>中国银行</a> <b>３．２万</b></li>"
    site.page("/", text.encode("gb18030"), headers={"Content-Type": "text/html"})
    site.page("/2", text.encode("gb18030"), headers={"Content-Type": "text/html; charset=gb2312"})
    rows, _, _ = collect(start_urls=[f"{site.base}/", f"{site.base}/2"])
    assert [(row["name"], row["price"]) for row in rows] == [("中国银行", 32000.0)] * 2


def test_a_redirect_to_a_page_that_is_there_gives_no_second_copy(site, collect):
    site.page("/", items(("/old", "A", 1), ("/new", "B", 2)))
    site.redirect("/old", "/new")
    site.page("/new", items(("#", "N", 3)))
    rows, told, _ = collect(follow={"links": "li"})
    assert [row["name"] for row in rows] == ["A", "B", "N"]
    assert told["pages"]["duplicates"] == 1


def test_limits_end_it_with_what_there_is(site, collect):
    site.page("/", items(*((f"/{n}", str(n), n) for n in range(9))))
    for n in range(9):
        site.page(f"/{n}", items(("#", f"p{n}", n)))
    rows, told, _ = collect(follow={"links": "li"}, limits={"max_pages": 4, "max_records": 11})
    assert [row["name"] for row in rows][9:] == ["p0", "p1"]
    assert (told["pages"]["asked"], told["pages"]["left"], told["stopped"]) == (4, 6, "max_records")


def test_time_ends_it_with_what_there_is(site, collect):
    site.page("/", items(("/slow", "A", 1)))
    site.slow("/slow", 6.0)
    rows, told, _ = collect(follow={"links": "li"}, limits={"max_seconds": 2.0})
    assert ([row["name"] for row in rows], told["stopped"]) == (["A"], "max_seconds")


def test_required_fields_and_unreadable_values_are_told(site, collect):
    site.page("/", items(("#", "A", 1), ("#", "B", "none"), ("#", "", 2)))
    fields = [{"name": "name", "select": "a", "required": True}, {"name": "price", "select": "b", "type": "number"}]
    rows, told, _ = collect(pages=[{"items": "li", "fields": fields}])
    assert [(row["name"], row["price"]) for row in rows] == [("A", 1.0), ("B", None)]
    assert (told["dropped"], told["unreadable"]) == ({"name": 1}, {"price": 1})


def test_pages_are_kept_if_asked_and_match_their_digests(site, collect, tmp_path):
    site.page("/", items(("/2", "A", 1)))
    site.page("/2", items(("#", "B", 2)))
    rows, _, _ = collect(follow={"links": "li"}, keep_bodies=True)
    with zipfile.ZipFile(tmp_path / "out/bodies.zip") as archive:
        held = {int(name): hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    assert held == {row["page"]: row["digest"] for row in rows}


def test_the_user_agent_and_headers_are_sent(site, collect):
    site.page("/", items(("#", "A", 1)))
    collect(user_agent="team-x", headers=[{"name": "Accept-Language", "value": "zh-CN"}])
    sent = site.headers["/"]
    assert (sent["User-Agent"], sent["Accept-Language"]) == ("team-x", "zh-CN")
    assert not {"Cookie", "Referer"} & set(sent)


def test_quality_is_measured(site, collect, tmp_path):
    site.page("/", items(("#", "A", 1), ("#", "B", 3)))
    collect()
    report = json.loads((tmp_path / "out/quality.json").read_text())
    price = next(column for column in report["columns"] if column["name"] == "price")
    assert (report["rows"], price["numeric"]["mean"]) == (2, 2.0)


def test_what_is_expected_is_checked_and_told(site, collect, tmp_path):
    site.page("/", items(("#", "A", 1), ("#", "B", 3)))
    expected = {"kind": "range", "column": "price", "maximum": 2}
    with pytest.raises(EngineError, match=r"row 2: 3\.0") as failure:
        collect(expectations=[expected])
    assert (failure.value.code, failure.value.field) == ("expectation_failed", "/expectations/0")
    assert list(tmp_path.iterdir()) == []
    _, _, result = collect(expectations=[{**expected, "severity": "warning"}])
    report = json.loads((tmp_path / "out/quality.json").read_text())
    assert [one["verdict"] for one in report["expectations"]] == ["warn"]
    assert any("does not hold" in warning for warning in result.summary["warnings"])


def test_nothing_fetched_is_an_error_and_leaves_nothing(site, collect, tmp_path):
    with pytest.raises(EngineError, match=r"No page could be fetched.*404") as failure:
        collect()
    assert failure.value.code == "nothing_fetched"
    assert list(tmp_path.iterdir()) == []


def test_too_many_failures_are_an_error_and_leave_nothing(site, collect, tmp_path):
    site.page("/", items(("/a", "A", 1), ("/b", "B", 2)))
    with pytest.raises(EngineError) as failure:
        collect(follow={"links": "li"}, limits={"max_failed": 1})
    assert (failure.value.code, failure.value.field) == ("too_many_failed", "/limits/max_failed")
    assert list(tmp_path.iterdir()) == []


def test_a_selector_that_cannot_be_read_is_named(collect):
    with pytest.raises(EngineError) as failure:
        collect(pages=[{"items": "li[", "fields": [{"name": "a"}]}])
    assert (failure.value.code, failure.value.field) == ("bad_selector", "/pages/0/items")


def test_progress_and_log_are_told(site, collect, report):
    site.page("/", items(("/gone", "A", 1)))
    collect(follow={"links": "li"})
    assert ("collect", 2, 2, "pages") in report.stages
    assert any(level == "warning" and "http_404" in text for level, text in report.lines)
    assert report.metrics["records"] == 1
