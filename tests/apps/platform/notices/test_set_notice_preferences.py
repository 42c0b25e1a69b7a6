import pytest

from apps.core.errors import Invalid, Refused
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import NoticePreference
from apps.platform.notices.queries import list_choices
from apps.platform.notices.services import set_notice_preferences


def test_what_is_chosen_is_kept_and_recorded(engineer, actor_for):
    assert list_choices(engineer.pk)["job.failed"] == {"bell": False, "mail": False}
    set_notice_preferences(actor=actor_for(engineer), choices={"job.failed": {"bell": True}})
    assert list_choices(engineer.pk)["job.failed"] == {"bell": True, "mail": False}
    assert list_choices(engineer.pk)["approval.requested"] == {"bell": True, "mail": True}
    body = AuditRecord.objects.get(action="notice.set_preferences").body
    assert '"after":{"job.failed bell":true}' in body
    assert '"before":{"job.failed bell":false}' in body


def test_the_same_again_changes_nothing(engineer, actor_for):
    for _ in range(2):
        set_notice_preferences(actor=actor_for(engineer), choices={"job.failed": {"bell": True}})
    assert NoticePreference.objects.count() == AuditRecord.objects.filter(action="notice.set_preferences").count() == 1


@pytest.mark.parametrize(
    ("choices", "code"),
    [
        ({"job.exploded": {"bell": True}}, "unknown_notice_kind"),
        ({"job.failed": {"pigeon": True}}, "unknown_notice_channel"),
    ],
)
def test_what_does_not_exist_is_named(engineer, actor_for, choices, code):
    with pytest.raises(Invalid) as refusal:
        set_notice_preferences(actor=actor_for(engineer), choices=choices)
    assert refusal.value.code == code
    assert not NoticePreference.objects.exists()


def test_no_token_may(engineer, make_token):
    with pytest.raises(Refused):
        set_notice_preferences(actor=build_actor_for_token(make_token(engineer)[1]), choices={})
