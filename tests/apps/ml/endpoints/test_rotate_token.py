import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.endpoints import access
from apps.ml.endpoints.services import delete_endpoint, predict, rotate_token
from apps.platform.audit.models import AuditRecord
from tests.certificates import make_certificate

pytestmark = pytest.mark.django_db


def test_a_token_is_shown_once_and_kept_as_its_digest(node, version, create, engineer, url, api):
    create()
    client = api(engineer)
    assert client.get(url("/oil")).json()["replicas"][0]["asks_for_token"] is False
    made = client.post(url("/oil/token"))
    secret, document = made.json()["token"], client.get(url("/oil")).json()
    assert (made.status_code, secret[:12]) == (201, document["token_prefix"])
    assert document["replicas"][0]["asks_for_token"] is True
    again = client.post(url("/oil/token")).json()["token"]
    stored = json.dumps(client.get(url("/oil")).json()) + "".join(AuditRecord.objects.values_list("body", flat=True))
    assert secret not in stored
    assert again not in stored
    rows = AuditRecord.objects.filter(action="endpoint.rotate_token").order_by("pk")
    assert json.loads(rows.last().body)["before"] == {"token": secret[:12]}


def test_who_may_not(node, version, create, viewer, approver, stranger, actor_for):
    endpoint = create()
    for who, refusal in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(refusal):
            rotate_token(actor=actor_for(who), endpoint=endpoint)


def test_a_deleted_endpoint_gets_none(node, version, create, engineer, actor_for):
    endpoint = create()
    delete_endpoint(actor=actor_for(engineer), endpoint=endpoint)
    with pytest.raises(Conflict):
        rotate_token(actor=actor_for(engineer), endpoint=endpoint)


def test_a_server_asks_where_there_is_a_token_and_always_beyond_loopback(settings):
    digest = sha256_hex("x")
    settings.SECRET_KEY_FALLBACKS = ["former"]
    cases = [("", "127.0.0.1"), ("", "localhost"), ("", "::1"), ("", "10.0.0.5"), ("", "node-1"), ("", "0.0.0.0")]
    counts = [len(access.list_token_digests(7, *case)) for case in [*cases, (digest, "127.0.0.1")]]
    assert counts == [0, 0, 0, 2, 2, 2, 3]
    own, *plane = access.list_token_digests(7, digest, "10.0.0.5")
    assert (own, plane) == (digest, [sha256_hex(token) for token in access.derive_plane_tokens(7)])
    assert access.derive_plane_tokens(7) != access.derive_plane_tokens(8)


@pytest.fixture
def encrypted(tmp_path):
    """A stand-in for a server with TLS that notes the token of its last request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.token = self.headers["Authorization"]
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *parts):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as at:
        at.certificate = make_certificate(tmp_path / "server.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(at.certificate)
        at.socket = context.wrap_socket(at.socket, server_side=True)
        threading.Thread(target=at.serve_forever, daemon=True).start()
        yield at
        at.shutdown()


def test_a_try_brings_the_token_of_the_plane_over_tls(
    add_node, version, create, report, engineer, actor_for, encrypted, settings
):
    port, who = encrypted.server_address[1], actor_for(engineer)
    added = add_node("a", ports=(port, port))
    added.hardware["serving"]["tls"] = True
    added.save()
    endpoint = create()
    report(endpoint)
    rotate_token(actor=who, endpoint=endpoint)
    endpoint.refresh_from_db()
    assert endpoint.replicas.get().url == f"https://127.0.0.1:{port}"
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        predict(actor=who, endpoint=endpoint, features=[1, 2])
    settings.ENV = settings.ENV.model_copy(update={"endpoint_authorities": str(encrypted.certificate)})
    assert predict(actor=who, endpoint=endpoint, features=[1, 2]).status == 200
    assert encrypted.token == f"Bearer {access.derive_plane_tokens(endpoint.pk)[0]}"
    settings.ENV = settings.ENV.model_copy(update={"endpoint_authorities": "/nowhere"})
    with pytest.raises(Exception, match="ENDPOINT_AUTHORITIES"):
        predict(actor=who, endpoint=endpoint, features=[1, 2])
