"""The pages of the trail: filters with their chips, one object, the strip of today, what is taken away."""

import html
import re
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from apps.platform.audit.checkpoints import append, get_checkpoints_path, list_newest_checkpoints
from apps.platform.audit.filters import Filters, apply_filters, parse_moment
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import record
from apps.platform.audit.verification import verify_trail

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def page(client, address, status=200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def test_by_request_job_and_object(browser, auditor, somebody):
    from dataclasses import replace

    record(actor=replace(somebody, job_id=12), action="thing.mine", object_type="thing", object_id=1)
    record(actor=replace(somebody, request_id="r-8"), action="thing.other", object_type="thing", object_id=2)
    client = browser(auditor)
    for query in ("request=r-7", "job=12", "object_type=thing&object_id=1"):
        text = page(client, f"/audit?{query}")
        assert ("thing.mine thing 1" in text, "thing.other thing 2" in text) == (True, False), query
    for query in ("job=0", "record=0"):  # there is none: a signed export would name the filter and hold every record
        assert "thing.mine thing 1" not in page(client, f"/audit?{query}"), query


def test_each_filter_is_a_chip_that_takes_it_away(browser, auditor, chain):
    text = page(browser(auditor), "/audit?actor=somebody&result=done&cursor=")
    assert 'href="?result=done"' in text
    assert 'href="?actor=somebody"' in text


def test_a_job_that_is_no_number_is_told(browser, auditor, chain):
    assert "&#x27;soon&#x27; is no number." in page(browser(auditor), "/audit?job=soon", status=422)


def test_the_first_bad_record_is_a_click_away(browser, auditor, chain, owner, operator):
    owner("UPDATE audit_auditrecord SET body = replace(body, 'thing', 'thong') WHERE seq = 4")
    verify_trail(actor=operator)
    client = browser(auditor)
    assert 'href="/audit?record=4"' in page(client, "/audit")
    text = page(client, "/audit?record=4")
    assert "thing.change thing 3" in text
    assert "thing.change thing 4" not in text


def test_a_range_of_time_is_paged_by_time(browser, auditor, write):
    write(60)
    client = browser(auditor)
    text = page(client, "/audit?actor=somebody&from=2001-01-01")
    assert text.count("<code>thing.change thing") == 50
    after = text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert page(client, f"/audit{after}").count("<code>thing.change thing") == 10


def test_today_is_counted_for_the_auditor_alone(browser, auditor, engineer, project, somebody):
    record(actor=somebody, action="thing.change", obj=project, result="refused")
    record(actor=somebody, action="user.log_in", object_type="user", result="failed")
    record(actor=somebody, action="approval.approved", obj=project)
    text = page(browser(auditor), "/audit")
    for word in ("Refused</span><b><a", "Failed log-ins", "Approvals decided"):
        assert word in text
    assert text.split("Failed log-ins</span>")[1].split("</a>")[0].endswith(">1")
    assert "Failed log-ins</span>" not in page(browser(engineer), "/audit")


def test_what_was_and_what_became_of_it_stand_on_the_page(browser, auditor, somebody):
    facts = {"before": {"state": "queued"}, "after": {"state": "<running>", "digest": "a" * 64, "flag": False}}
    record(actor=somebody, action="thing.change", object_type="thing", object_id=3, **facts)
    text = page(browser(auditor), "/audit/object/thing/3")
    assert "state <code>queued</code>" in text
    assert "<code>&lt;running&gt;</code>" in text
    assert "aaaaaaaa…aaaa" in text
    assert "<code>false</code>" in text


def test_an_object_leads_to_its_page_its_people_and_what_was_touched_with_it(browser, engineer, project, somebody):
    common = {"actor": somebody, "project_id": project.pk}
    record(action="job.submit", object_type="job", object_id=5, **common)
    record(action="run.start", object_type="run", object_id="f" * 32, **common)
    text = page(browser(engineer), "/audit/object/job/5")
    assert 'href="/p/demo/jobs/5"' in text
    assert f'href="/audit/object/run/{"f" * 32}"' in text
    assert "?actor=somebody" in text
    assert "Export this range" not in text  # nothing of it is sealed yet


def test_an_unknown_object_has_no_page_and_says_so(browser, auditor, chain):
    text = page(browser(auditor), "/audit/object/nothing/99")
    assert "Open the object" not in text
    assert "No records about it." in text


def test_many_checkpoints_are_read_from_the_end(home):
    lines = [f'{{"seq": {number}, "hash": "{"a" * 64}", "signature": "{"b" * 88}"}}\n' for number in range(200)]
    append(get_checkpoints_path(), "".join(lines))
    append(get_checkpoints_path(), '{"seq": 200, "ha')
    assert [one["seq"] for one in list_newest_checkpoints(3)] == [199, 198, 197]
    assert list_newest_checkpoints()[0]["seq"] == 199


def test_the_chain_page_shows_anchors_and_commands(browser, auditor, chain, engineer):
    text = page(browser(auditor), "/audit/chain")
    assert "python3 verify.py audit-1-1000.jsonl --public-key" in text
    assert "<span>--public-key</span>" in text
    assert 'data-l="Record">' in text
    assert 'href="/audit/checkpoints.jsonl"' in text
    page(browser(engineer), "/audit/chain", status=403)


def test_an_anchor_is_taken_and_recorded(browser, auditor, engineer, chain):
    client, other = browser(auditor), browser(engineer)
    for count, name in enumerate(("audit_ed25519.pub.pem", "checkpoints.jsonl"), start=1):
        answer = client.get(f"/audit/{name}")
        assert (answer.status_code, bool(b"".join(answer.streaming_content))) == (200, True)
        assert AuditRecord.objects.filter(action="audit.take_anchor", actor="auditor").count() == count
        assert other.get(f"/audit/{name}").status_code == 403


def test_an_anchor_that_is_not_here_is_told(browser, auditor, home):
    assert browser(auditor).get("/audit/checkpoints.jsonl").status_code == 404


def test_a_day_at_the_ends_of_the_calendar_is_refused(browser, auditor, chain):
    auditor.time_zone = "Asia/Shanghai"  # whose first day begins before there is any
    auditor.save()
    client = browser(auditor)
    with timezone.override(None):  # a page leaves its reader's zone behind, for the next one to take away
        for query in ("to=9999-12-31", "from=0001-01-01", "from=0001-01-01T00:00", "to=9999-13-01"):
            assert "is no date" in page(client, f"/audit?{query}", status=422), query


def test_a_time_without_a_zone_is_in_the_readers_zone():
    with timezone.override("Asia/Shanghai"):
        read = parse_moment({"from": "2026-01-02T03:04"}, "from")
        assert read == parse_moment({"from": "2026-01-01T19:04Z"}, "from") == datetime(2026, 1, 1, 19, 4, tzinfo=UTC)


def test_the_number_of_decisions_leads_to_just_these(browser, auditor, project, somebody):
    for action in ("approval.approved", "approval.rejected", "approval.look", "approval.request"):
        record(actor=somebody, action=action, obj=project)
    client = browser(auditor)
    answer = client.get("/audit")
    (link,) = re.findall(r'Approvals decided</span><b><a href="([^"]*)">', answer.content.decode())
    text = page(client, f"/audit{html.unescape(link)}")
    assert answer.context["today"].decided == text.count(f"<code>approval.approved project {project.pk}<") + 1 == 2
    assert "approval.look project" not in text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("thing.made", {"thing.made"}),
        ("thing.made, thing.gone", {"thing.made", "thing.gone"}),
        ("thing.", {"thing.made", "thing.gone", "thing.kept"}),
        ("thing", {"thing.made", "thing.gone", "thing.kept"}),
        ("gone", {"thing.gone"}),
        ("things", set()),
    ],
)
def test_one_action_several_or_a_family(somebody, asked, found):
    for action in ("thing.made", "thing.gone", "thing.kept"):
        record(actor=somebody, action=action, object_type="thing")
    rows = apply_filters(AuditRecord.objects.filter(object_type="thing"), Filters(action=asked))
    assert set(rows.values_list("action", flat=True)) == found


def test_results_are_in_the_language_of_the_page(browser, auditor):
    answer = browser(auditor).get("/audit?result=refused", headers={"Accept-Language": "zh-hans"})
    choices = {
        name: word for one in answer.context["filters"] if one["name"] == "result" for name, word in one["choices"]
    }
    assert choices == {"": "所有结果", "done": "已完成", "refused": "已拒绝", "failed": "失败"}
    assert "结果: 已拒绝" in answer.content.decode()
