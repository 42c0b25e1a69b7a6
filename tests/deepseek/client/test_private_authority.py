"""A plane whose certificate the site itself has signed: trusted by `--ca FILE` alone."""

from __future__ import annotations

import ssl

import pytest

from deepseek.client import ClientError
from tests.certificates import make_certificate


@pytest.fixture
def certificate(tmp_path):
    """A PEM file with the key and the certificate of 127.0.0.1, signed by itself."""
    return make_certificate(tmp_path / "plane.pem")


@pytest.fixture
def server(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    started = serve(lambda request: request.answer(200, b'"plane"'), tls=context)
    started.url = started.url.replace("http:", "https:")
    return started


def test_file_of_the_authority_is_trusted(server, connect, certificate):
    assert connect(server, ca=str(certificate)).call("GET", "/api") == "plane"


def test_without_it_no_token_is_sent(server, connect):
    with pytest.raises(ClientError, match="is not trusted") as caught:
        connect(server, patience=10).call("GET", "/api")
    assert (caught.value.code, caught.value.exit_code, server.requests) == ("untrusted_certificate", 2, [])
    assert "--ca FILE" in str(caught.value.hint)
