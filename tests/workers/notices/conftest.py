"""A receiver of webhooks, and a mail server: real ones on a loopback port, in a thread."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.accounts.models import User
from apps.platform.notices import services
from apps.platform.notices.outbox import queue_notices
from deepseek.messages import Message

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")


class Receiver(HTTPServer):
    """Answers as `answers` says, 204 once they are used up; `got` holds (path, headers, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers, self.got = [], []
        self.host = f"127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A sender that hung up is part of a test."""


class Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers, body))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        if callable(answer):
            answer(self)
            return
        self.send_response(answer)
        if 300 <= answer < 400:
            self.send_header("Location", f"http://{self.server.host}/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def create(settings, receiver, project, secadmin, actor_for):
    """create(name="chat") -> (webhook, secret), at the receiver."""
    settings.NOTICE_HOSTS = [receiver.host]

    def created(name="chat"):
        url = f"http://{receiver.host}/hooks/{name}?a=1"
        return services.create_webhook(actor=actor_for(secadmin), project=project, name=name, url=url)

    return created


@pytest.fixture
def queue(project):
    """queue(*people, title="Move it"): a notice about the project."""

    def queued(*people: User, title: str = "Move it"):
        return queue_notices(
            kind="approval.requested",
            message=Message("{who} asks for approval: {title}", who="engineer", title=title),
            path="/p/demo/approvals/7",
            recipients=[person.pk for person in people],
            subject=project,
            project=project,
        )

    return queued


# -- mail -----------------------------------------------------------------------------------------------------------
class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP (RFC 5321) as a client needs that sends one mail after the other."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailSession)
        self.answers, self.envelopes = {}, []  # answers: {command: line} in place of the usual

    @property
    def mails(self):
        return [message_from_bytes(data, policy=policy.default) for _sender, _to, data in self.envelopes]


class MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self) -> None:
        self.say("220 mail.bank.example")
        sender, recipients = "", []
        while line := self.rfile.readline().decode().strip():
            command, argument = line[:4].upper(), line[5:]
            if command in self.server.answers:
                self.say(self.server.answers[command])
            elif command == "MAIL":
                sender, recipients = argument, []
                self.say("250 ok")
            elif command == "RCPT":
                recipients.append(argument)
                self.say("250 ok")
            elif command == "DATA":
                self.say("354 go on")
                self.server.envelopes.append((sender, recipients, self.read_mail()))
                self.say("250 ok")
            elif command == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def read_mail(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


@pytest.fixture
def mail_server(settings) -> Iterator[MailServer]:
    server = MailServer()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings.MAIL_ENABLED = True
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
    settings.DEFAULT_FROM_EMAIL = "plane@bank.example"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def reachable(approver) -> User:
    User.objects.filter(pk=approver.pk).update(email="approver@bank.example")
    return User.objects.get(pk=approver.pk)
