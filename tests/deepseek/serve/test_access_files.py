"""Tokens and certificate of a service that runs: read again, and left as they are where the files are at fault."""

import hashlib
import ssl

import pytest
from starlette.testclient import TestClient

from deepseek.serve.access import AccessFiles
from deepseek.serve.admin import create_admin_app
from deepseek.serve.app import create_app, create_executor
from deepseek.serve.options import ServeOptions
from deepseek.serve.swapping import ModelSwapper
from tests.certificates import make_certificate
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import load_models

OPTIONS = ServeOptions(at_once=1)


def write_token(path, token):
    path.write_text(f"sha256:{hashlib.sha256(token.encode()).hexdigest()}\n")


@pytest.fixture
def running(tmp_path):
    """(client, client of the control socket, the file of tokens)"""
    make_model(tmp_path / "wti")
    path = tmp_path / "tokens"
    write_token(path, "first")
    access = AccessFiles(path, None, None)
    service = create_app(load_models(tmp_path / "wti"), OPTIONS, tokens=access.tokens)
    swapper = ModelSwapper(service.repository, OPTIONS, create_executor(OPTIONS))
    return TestClient(service), TestClient(create_admin_app(service, swapper, access.reload)), path


def ask(client, token):
    return client.get("/model", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_new_token_replaces_the_old_one(running):
    client, admin, path = running
    write_token(path, "second")
    assert (ask(client, "first"), ask(client, "second")) == (200, 401)
    assert admin.post("/admin/access").status_code == 200
    assert (ask(client, "first"), ask(client, "second")) == (401, 200)


def test_a_file_at_fault_leaves_the_old_tokens(running):
    client, admin, path = running
    path.write_text("short\n")
    answer = admin.post("/admin/access")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "token_file_invalid")
    assert ask(client, "first") == 200


def test_a_certificate_that_was_renewed_is_taken_and_a_wrong_one_is_not(tmp_path):
    path = make_certificate(tmp_path / "service.pem")
    access = AccessFiles(None, path, None)
    first = read_certificate(access.context)
    path.write_text("no certificate")
    with pytest.raises(Exception, match="cannot be used"):
        access.reload()
    assert read_certificate(access.context) == first
    make_certificate(path)
    access.reload()
    assert read_certificate(access.context) == ssl.PEM_cert_to_DER_cert(
        path.read_text().partition("KEY-----\n")[2].partition("KEY-----\n")[2]
    )


def read_certificate(context):
    """The certificate that a client is given, without a socket between."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(binary_form=True)
