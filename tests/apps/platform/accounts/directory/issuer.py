"""A small issuer of OpenID Connect in this process: metadata, keys, and a token endpoint that checks what it gets."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "plane", "the secret of the plane"


class Issuer:
    """`claims` over those of the default token; `key` signs, `listed` is in the list of keys."""

    def __init__(self) -> None:
        self.key = self.listed = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.reset()
        handler = type("Handler", (Answers,), {"issuer": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        self.signing, self.algorithm, self.claims, self.metadata = self.key, "RS256", {}, {}
        self.keys: Any = None  # in the place of the list of keys
        self.asked: dict[str, str] = {}

    def authorize(self, address: str) -> dict[str, str]:
        """What the browser comes back with, after somebody logged in there."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        return {"code": "one-time-code", "state": self.asked["state"]}

    def exchange(self, form: dict[str, str]) -> dict[str, Any] | None:
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge_text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        sent = (form["code"], form["client_id"], form["client_secret"], form["redirect_uri"], challenge_text)
        wanted = ("one-time-code", CLIENT, SECRET, self.asked["redirect_uri"], self.asked["code_challenge"])
        return {"id_token": self.sign(), "access_token": "unused", "token_type": "Bearer"} if sent == wanted else None

    def sign(self) -> str:
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "sub": "subject-1", "iat": now, "exp": now + 60}
        claims |= {"nonce": self.asked["nonce"], "preferred_username": "engineer", "groups": []} | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        key = "x" * 32 if self.algorithm == "HS256" else None if self.algorithm == "none" else self.signing
        return jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": "first"})


class Answers(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        address = self.issuer.address
        if self.path.endswith("openid-configuration"):
            endpoints = {"authorization": "/authorize", "token": "/token"}
            body = {f"{name}_endpoint": address + path for name, path in endpoints.items()}
            self.answer({"issuer": address, "jwks_uri": f"{address}/keys", **body, **self.issuer.metadata})
        else:
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.issuer.listed.public_key()))
            right = [{**public, "kid": "first", "use": "sig", "alg": "RS256"}]
            self.answer({"keys": right if self.issuer.keys is None else self.issuer.keys})

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        tokens = self.issuer.exchange({name: values[0] for name, values in parse_qs(sent).items()})
        self.answer(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words: Any) -> None:
        """Quiet."""
