"""The enrolment of a device: its key first, then the request, then the token. It may be killed between any two."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from deepseek.agent.errors import AgentError, AgentFailure, EnrolmentRefused
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.identity import Identity, get_agent_version, load_or_create_key, store_identity
from deepseek.agent.updating.trust import TrustStore
from deepseek.client.errors import PlaneRefusal
from deepseek.job import EngineError
from deepseek.signing.keys import encode_public_key
from deepseek.signing.statements import sign_enrolment

MAX_TOKEN_BYTES = 512
RETRIED_STATUSES = range(500, 600)


def enrol_device(
    home: Home,
    connection: PlaneConnection,
    trust: TrustStore,
    *,
    token: str,
    name: str,
    architecture: str,
    attributes: Mapping[str, str],
) -> tuple[Identity, float]:
    """Enrol, and return who the device is now and the seconds between its polls.

    The same key and token again give the same device, so nothing is lost when the agent is killed before it has stored
    the answer. Raises PlaneAway, and EnrolmentRefused where the plane refuses.
    """
    signer = load_or_create_key(home)
    body = {
        "token": token,
        "name": name,
        "public_key": encode_public_key(signer.public_key),
        "architecture": architecture,
        "attributes": dict(attributes),
        "agent_version": get_agent_version(),
        "proof": sign_enrolment(name, token, signer),
    }
    try:
        answer = connection.request("POST", "/enrol", body).document
    except PlaneRefusal as refusal:
        raise _build_refusal(refusal) from None
    try:
        identity = Identity(
            device=str(answer["device"]),
            project=str(answer["project"]),
            plane=connection.url,
            name=name,
            token=str(answer["token"]),
        )
        poll_seconds = float(answer["poll_seconds"])
        keys = dict(answer["release_keys"])
    except (KeyError, TypeError, ValueError) as error:
        raise _build_answer_error(f"{type(error).__name__} {error}") from None
    try:
        if keys.get("lists"):  # a plane that has released nothing has no key yet: they come with a poll
            trust.accept(keys, is_page=True)  # the first poll fetches what lacks
    except EngineError as error:
        raise _build_answer_error(str(error.message)) from None
    store_identity(home, identity)
    return identity, poll_seconds


def read_token(text: str) -> str:
    """The token of `--enrol`: itself, or @FILE. Raises AgentError ``bad_token``; the token is not repeated."""
    token, where = text, "--enrol"
    if text.startswith("@"):
        path = Path(text[1:])
        where = f"--enrol @{path}"
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise AgentError(
                    "token_file_unsafe",
                    f"Others may read the token in {path}.",
                    field="--enrol",
                    value=str(path),
                    limit="a file of mode 0600",
                    hint=f"Run: chmod 600 {path}",
                )
            token = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII text"
            raise AgentError(
                "bad_token",
                f"The file of the enrolment token cannot be read: {reason}.",
                field="--enrol",
                value=str(path),
                limit="a file with one token",
                hint="Name the file that the token was stored in.",
            ) from None
    if not (0 < len(token) <= MAX_TOKEN_BYTES and token.isascii() and token.isprintable() and " " not in token):
        raise AgentError(
            "bad_token",
            "The enrolment token is empty, too long, or holds a character that no token has.",
            field=where,
            limit=f"up to {MAX_TOKEN_BYTES} printable ASCII characters",
            hint="Copy it again, whole, from the page of the device group.",
        )
    return token


def suggest_name(host: str) -> str:
    """A name of a device for a machine that was given none."""
    letters = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in host)
    return letters.strip("-_.")[:80] or f"device-{secrets.token_hex(4)}"


def _build_refusal(refusal: PlaneRefusal) -> EnrolmentRefused:
    return EnrolmentRefused(
        refusal.code,
        f"The plane refused the enrolment: {refusal.message}",
        field=refusal.field or "--enrol",
        limit=refusal.limit,
        hint=refusal.hint or "Ask for a new enrolment token, and give it with --enrol.",
    )


def _build_answer_error(reason: str) -> AgentFailure:
    return AgentFailure(
        "plane_answer_wrong",
        f"The plane's answer to the enrolment cannot be used: {reason}",
        field="--plane",
        limit="device, project, token, poll_seconds and release_keys",
        hint="Look whether the plane has the version of this agent or a newer one.",
    )
