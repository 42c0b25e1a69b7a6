"""What a collection makes of a site: records in the order of discovery, with where each comes from."""

import hashlib
import json
import zipfile
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from deepseek.collect.run import run
from deepseek.job import EngineError
from tests.deepseek.collect.conftest import FIELDS, make_spec
from tests.deepseek.conftest import Recorder
from tests.site import serving


def items(*pairs):
    return "".join(f"<li><a href='{href}'>{text}</a> <b>{price}</b></li>" for href, text, price in pairs)


EXPECTED = {"kind": "range", "column": "price", "maximum": 2}
CHINESE = "<li><a>中国银行</a> <b>３．２万</b></li>".encode("gb18030")


class Shop:
    """A site with a bit of everything, and one collection of it."""

    def __init__(self, site, folder):
        self.site, self.out, self.report = site, folder / "out", Recorder()
        pages = [("/gone", "Ink", "1,200.5"), ("/old", "Pen", "3"), ("/new", "Odd", "none"), ("#", "", 2)]
        self.body = f"<ul>{items(*pages)}</ul>"
        self.url = site.page("/", self.body)
        site.page("/gb", CHINESE, headers={"Content-Type": "text/html"})
        site.page("/gb-declared", CHINESE, headers={"Content-Type": "text/html; charset=gb2312"})
        site.redirect("/old", "/new")
        site.page("/new", items(("#", "New", 3)))
        spec = make_spec(
            site,
            start_urls=[f"{site.base}{path}" for path in ("/", "/gb", "/gb-declared")],
            pages=[{"items": "li", "fields": [FIELDS[0] | {"required": True}, FIELDS[1]]}],
            follow={"links": "li"},
            keep_bodies=True,
            user_agent="team-x",
            headers=[{"name": "Accept-Language", "value": "zh-CN"}],
            expectations=[EXPECTED | {"severity": "warning"}],
        )
        self.result = run(spec, inputs={}, out=self.out, report=self.report)
        self.rows = pq.read_table(self.out / "records.parquet").to_pylist()
        self.fetches = json.loads((self.out / "report.json").read_text())
        self.quality = json.loads((self.out / "quality.json").read_text())


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with serving() as site, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLLECT_HOSTS", "127.0.0.1")
        yield Shop(site, tmp_path_factory.mktemp("shop"))


def test_records_say_where_they_come_from(shop):
    assert [(row["name"], row["price"], row["page"], row["item"]) for row in shop.rows[:2]] == [
        ("Ink", 1200.5, 1, 1),
        ("Pen", 3.0, 1, 2),
    ]
    first = shop.rows[0]
    assert (first["source_url"], first["status"]) == (shop.url, 200)
    assert first["digest"] == hashlib.sha256(shop.body.encode()).hexdigest()
    assert abs((datetime.now(UTC) - first["fetched_at"]).total_seconds()) < 600
    assert [output.slot for output in shop.result.outputs] == ["records", "quality", "report", "bodies"]
    assert shop.fetches["pages"]["fetched"] == 5


def test_gb18030_is_read_declared_or_not(shop):
    chinese = [(row["name"], row["price"]) for row in shop.rows if row["page"] in (2, 3)]
    assert chinese == [("中国银行", 32000.0)] * 2


def test_a_redirect_to_a_page_that_is_there_gives_no_second_copy(shop):
    assert [row["name"] for row in shop.rows if row["page"] > 3] == ["New"]
    assert shop.fetches["pages"]["duplicates"] == 1


def test_required_fields_and_unreadable_values_are_counted(shop):
    assert [(row["name"], row["price"]) for row in shop.rows if row["page"] == 1][2:] == [("Odd", None)]
    assert (shop.fetches["dropped"], shop.fetches["unreadable"]) == ({"name": 1}, {"price": 1})


def test_pages_are_kept_if_asked_and_match_their_digests(shop):
    with zipfile.ZipFile(shop.out / "bodies.zip") as archive:
        kept = {int(name): hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    assert {row["page"]: row["digest"] for row in shop.rows}.items() <= kept.items()
    assert sorted(kept) == [1, 2, 3, 5, 6]  # the fourth is gone, the sixth is the fifth once more
    assert kept[6] == kept[5]


def test_the_user_agent_and_headers_are_sent(shop):
    sent = shop.site.headers["/"]
    assert (sent["User-Agent"], sent["Accept-Language"]) == ("team-x", "zh-CN")
    assert not {"Cookie", "Referer"} & set(sent)


def test_quality_is_measured(shop):
    price = next(column for column in shop.quality["columns"] if column["name"] == "price")
    assert shop.quality["rows"] == 6
    assert price["numeric"]["mean"] == pytest.approx((1200.5 + 3 + 32000 + 32000 + 3) / 5)


def test_progress_and_log_are_reported(shop):
    assert ("collect", 6, 6, "pages") in shop.report.stages
    assert any(level == "warning" and "http_404" in text for level, text in shop.report.lines)
    assert shop.report.metrics["records"] == 6


def test_an_expectation_with_severity_warning_is_reported(shop):
    assert [one["verdict"] for one in shop.quality["expectations"]] == ["warn"]
    assert any("does not hold" in warning for warning in shop.result.summary["warnings"])


def test_an_expectation_that_fails_is_an_error_and_leaves_nothing(site, collect, tmp_path):
    site.page("/", items(("#", "A", 1), ("#", "B", 3)))
    with pytest.raises(EngineError, match=r"row 2: 3\.0") as failure:
        collect(expectations=[EXPECTED])
    assert (failure.value.code, failure.value.field) == ("expectation_failed", "/expectations/0")
    assert list(tmp_path.iterdir()) == []


def test_lists_are_paged_and_links_followed_in_order(site, collect):
    site.page("/", f"{items(('/x', 'A', 1), ('/y', 'B', 2))}<a class=next href=/2>more</a>")
    site.page("/2", f"{items(('/z', 'C', 3), ('/', 'home', 4))}<a class=next href=/>around</a>")
    site.slow("/x", 0.3, items(("#", "X", 5)))
    site.page("/y", items(("/x", "Y", 6)))
    site.page("/z", items(("#", "Z", 7)))
    rows, told, result = collect(follow={"next": "a.next", "links": "li", "max_depth": 1})
    assert [row["name"] for row in rows] == ["A", "B", "C", "home", "X", "Y", "Z"]
    assert [row["page"] for row in rows] == [1, 1, 2, 2, 3, 4, 5]
    assert told["pages"]["asked"] == 5
    assert [output.slot for output in result.outputs] == ["records", "quality", "report"]
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
