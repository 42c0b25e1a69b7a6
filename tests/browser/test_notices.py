"""The bell: one notice arrives, is opened and read; and a webhook that tells a receiver of a test."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import expect

QUEUE = """
from django.utils import timezone
from apps.platform.accounts.models import Project, User
from apps.platform.notices.models import Notice
from apps.platform.notices.outbox import queue_notices
from deepseek.messages import Message
project = Project.objects.get(slug="demo")
Notice.objects.filter(read_at=None).update(read_at=timezone.now())  # of what other tests of this plane asked for
message = Message("{who} asks for approval: {title}", who="ada", title="Move it")
queue_notices(kind="approval.requested", message=message,
    path="/p/demo/approvals", recipients=[User.objects.get(username="approver").pk], subject=project, project=project)
"""
REMOVE_WEBHOOKS = """
from apps.platform.notices.models import Webhook
Webhook.objects.all().delete()
"""


@pytest.fixture
def remove_webhooks(run_code):
    """What happens in the project later is not to be sent to a port that another test's server has by then."""
    yield
    run_code(REMOVE_WEBHOOKS)


def test_a_notice_is_opened_from_the_bell(plane, signed_in, run_code):
    page = signed_in("approver")
    run_code(QUEUE)
    page.goto(f"{plane}/")
    page.get_by_role("link", name="1 unread notice").click()
    page.get_by_role("link", name="ada asks for approval: Move it").click()
    expect(page).to_have_url(f"{plane}/p/demo/approvals")
    expect(page.locator(".bell .count")).to_have_count(0)
    page.goto(f"{plane}/account/notices")
    box = page.locator("input[value='job.failed:bell']")
    box.check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(box).to_be_checked()


def test_a_webhook_is_created_and_tested(plane, signed_in, remove_webhooks):
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["webhook-signature"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        page = signed_in("secadmin")
        page.goto(f"{plane}/p/demo/webhooks")
        page.locator("[name=name]").fill("chat")
        page.locator("[name=url]").fill(f"http://127.0.0.1:{server.server_port}/hooks/abc")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_text("whsec_")).to_be_visible()
        page.get_by_role("button", name="Send a test").click()
        while page.locator("tr.succeeded").count() == 0:
            page.wait_for_timeout(200)
            page.reload()
        server.shutdown()
    ((signature, _body),) = [message for message in got if b'"type":"webhook.test"' in message[1]]
    assert signature.startswith("v1,")
