from django.utils import timezone

from apps.platform.notices.models import Notice, NoticePreference
from apps.platform.notices.queries import list_choices

LIST, CHOICES = "/notices", "/account/notices"


def text(answer) -> str:
    return answer.content.decode()


def test_the_bell_counts_what_is_unread(queue, approver, browser):
    client = browser(approver)
    assert 'aria-label="Notices"' in text(client.get(LIST))
    queue(approver)
    queue(approver)
    page = text(client.get(LIST))
    assert 'aria-label="2 unread notices"' in page
    assert "engineer asks for approval: Move it" in page
    client.post(f"{LIST}/read")
    assert 'aria-label="Notices"' in text(client.get(LIST))


def test_opening_one_marks_it_and_leads_to_its_subject(queue, approver, viewer, browser):
    notice = queue(approver)[0]
    answer = browser(approver).get(f"{LIST}/{notice.pk}")
    assert (answer.status_code, answer["Location"]) == (302, "/p/demo/approvals/7")
    assert Notice.objects.get().read_at is not None
    assert browser(viewer).get(f"{LIST}/{notice.pk}").status_code == 404


def test_one_is_marked_on_the_list(queue, approver, browser):
    first, _second = queue(approver)[0], queue(approver)[0]
    answer = browser(approver).post(f"{LIST}/{first.pk}/read", {"back": f"{LIST}?show=unread"})
    assert answer["Location"] == f"{LIST}?show=unread"
    assert text(browser(approver).get(f"{LIST}?show=unread")).count("data-unread") == 1


def test_the_list_is_narrowed_and_paged(queue, approver, browser):
    for kind in ("approval.requested", "approval.ended", "approval.ended"):
        queue(approver, kind=kind)
    Notice.objects.filter(kind="approval.requested").update(read_at=timezone.now())
    client = browser(approver)
    assert text(client.get(f"{LIST}?show=unread")).count("data-unread") == 2
    assert (
        "Approval decided" not in text(client.get(f"{LIST}?kind=approval.requested&columns=kind")).split("<tbody>")[1]
    )
    assert 'rel="next"' in text(client.get(f"{LIST}?limit=2"))
    assert client.get(f"{LIST}?kind=job.exploded").status_code == 422
    lines = client.get(f"{LIST}?format=csv").getvalue().decode().splitlines()
    assert (lines[0], len(lines)) == ("notice,kind,project,at", 4)


def test_it_is_read_in_the_language_of_the_reader(queue, approver, browser):
    queue(approver)
    client = browser(approver)
    client.cookies["django_language"] = "zh-hans"
    page = text(client.get(LIST))
    assert "engineer 请求审批：Move it" in page
    assert "asks for approval" not in page


def test_channels_are_chosen_by_ticks(engineer, browser):
    client = browser(engineer)
    assert 'value="job.failed:bell"' in text(client.get(CHOICES))
    sent = {"kind": ["job.failed", "approval.requested"], "on": ["job.failed:bell", "approval.requested:mail"]}
    assert client.post(CHOICES, sent).status_code == 302
    choices = list_choices(engineer.pk)
    assert choices["job.failed"] == {"bell": True, "mail": False}
    assert choices["approval.requested"] == {"bell": False, "mail": True}
    assert choices["approval.ended"] == {"bell": True, "mail": True}
    assert NoticePreference.objects.count() == 2


def test_a_person_says_where_mails_go(engineer, browser):
    client = browser(engineer)
    assert client.post(CHOICES, {"form": "address", "email": "e@bank.example"}).status_code == 302
    engineer.refresh_from_db()
    assert engineer.email == "e@bank.example"
    assert client.post(CHOICES, {"form": "address", "email": "e@bank\nBcc: x@y.z"}).status_code == 422


def test_a_stranger_logs_in_first(client, db):
    assert client.get(LIST).status_code == 302
    assert client.get(CHOICES).status_code == 302
