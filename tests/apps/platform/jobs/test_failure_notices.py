import pytest

from apps.platform.jobs.models import Job
from apps.platform.notices.models import Notice, NoticePreference

pytestmark = pytest.mark.django_db


@pytest.fixture
def chosen(engineer):
    NoticePreference.objects.create(user=engineer, kind="job.failed", channel="bell", enabled=True)


def test_whoever_submitted_it_and_chose_so_is_told(chosen, running, fail):
    job = fail(running)
    notice = Notice.objects.get()
    assert (notice.recipient.username, notice.path) == ("engineer", f"/p/demo/jobs/{job.pk}")
    assert notice.message["message"] == f"Job {job.pk} (noop) of demo failed."


def test_what_fails_with_it_is_told_of_no_more(chosen, submit, child_of, claim, fail):
    child = child_of(submit())
    fail(claim())
    assert Job.objects.get(pk=child.pk).state == "failed"
    assert Notice.objects.count() == 1


def test_nobody_is_told_who_has_not_chosen_it(running, fail):
    fail(running)
    assert not Notice.objects.exists()


def test_an_attempt_that_is_tried_again_is_no_failure(chosen, running, fail):
    fail(running, retry=True)
    assert not Notice.objects.exists()
