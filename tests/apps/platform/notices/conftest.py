"""A webhook, and what a notice is queued with."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.notices import services
from apps.platform.notices.outbox import queue_notices
from deepseek.messages import Message

HOST = "127.0.0.1:9"


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def hosts(settings):
    settings.NOTICE_HOSTS = [HOST]


@pytest.fixture
def create(hosts, project, secadmin, actor_for):
    """create(by=..., **changes) -> (webhook, secret)."""

    def created(by=None, **changes):
        about = {"project": project, "name": "chat", "url": f"http://{HOST}/hooks/abc", "kinds": []}
        return services.create_webhook(actor=by or actor_for(secadmin), **about | changes)

    return created


@pytest.fixture
def webhook(create):
    return create()[0]


@pytest.fixture
def queue(project):
    """queue(*recipients, **changes) -> notices about the project itself, which stands for any subject."""

    def queued(*recipients, **changes):
        about = {
            "kind": "approval.requested",
            "message": Message("{who} asks for approval: {title}", who="engineer", title="Move it"),
            "path": "/p/demo/approvals/7",
            "recipients": [user.pk for user in recipients],
            "subject": project,
            "project": project,
        }
        return queue_notices(**about | changes)

    return queued
