"""Run `git http-backend` behind a view: a CGI program with a file as input, whose output is streamed."""

from __future__ import annotations

import gzip
import logging
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from apps.core.actors import Actor
from apps.core.errors import TooLarge, Unavailable
from apps.data.repositories import git
from apps.platform.artifacts.request_body import build_cut_off_error, open_body
from deepseek.messages import N_

log = logging.getLogger(__name__)

CHUNK = 64 << 10
SHALLOW_LIMIT = 10_000  # lines before the first reference
HEAD_LIMIT = 16 << 10  # bytes of the headers of a CGI answer
GIT_PROTOCOL = re.compile(r"[\x21-\x7e]{1,100}")
FETCH_LIMIT = 64 << 20  # bytes: what a client has and wants; large histories compress to a few MB


def spool_body(request: HttpRequest, limit: int) -> IO[bytes]:
    """The body in a file without a name, from its beginning. TooLarge by its announced length or while it comes."""
    body = open_body(request)
    if body.length is not None and body.length > limit:
        raise push_too_large_error(limit)
    file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - the caller's
    try:
        size = 0
        for chunk in body.chunks:
            size += len(chunk)
            if size > limit:
                raise push_too_large_error(limit)
            file.write(chunk)
        if body.length is not None and size != body.length:
            raise build_cut_off_error()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def push_too_large_error(limit: int) -> TooLarge:
    return TooLarge(
        "The request of Git is larger than {most} bytes.",
        most=limit,
        code="push_too_large",
        limit=limit,
        hint=N_('Large files go by LFS: git lfs track "*.csv". GIT_PUSH_LIMIT_BYTES sets the limit of a push.'),
    )


def build_cgi_environment(
    request: HttpRequest, actor: Actor, folder: Path, service: str, length: int | None
) -> dict[str, str]:
    """What the CGI may know of a request, and no more."""
    variables = {
        "GIT_PROJECT_ROOT": str(folder.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{folder.name}/{service}",
        "QUERY_STRING": f"service={request.GET.get('service', '')}" if service == "info/refs" else "",
        "REQUEST_METHOD": str(request.method),
        "REMOTE_USER": re.sub(r"[^A-Za-z0-9._-]", "-", actor.label) or "token",
        "REMOTE_ADDR": actor.address,
        "CONTENT_TYPE": request.content_type or "",
    }
    if length is not None:
        variables["CONTENT_LENGTH"] = str(length)
    if GIT_PROTOCOL.fullmatch(protocol := request.headers.get("Git-Protocol", "")):
        variables["GIT_PROTOCOL"] = protocol
    if (encoding := request.headers.get("Content-Encoding", "")) in ("gzip", "x-gzip"):
        variables["HTTP_CONTENT_ENCODING"] = encoding
    config = {
        "core.hooksPath": str(folder.parent / "hooks"),
        "receive.maxInputSize": str(settings.ENV.git_push_limit_bytes),
    }
    return git.build_environment(variables, config)


def get_length(file: IO[bytes]) -> int:
    length = file.seek(0, 2)
    file.seek(0)
    return length


def read_capabilities(body: IO[bytes], *, is_gzipped: bool) -> frozenset[str]:
    """What the client of a push asks of Git, behind the first reference ("atomic"); the body is at its beginning again.

    Lines of the protocol begin with their length, four hex digits; such of a shallow clone may come before.
    """
    stream = gzip.GzipFile(fileobj=body) if is_gzipped else body
    try:
        for _ in range(SHALLOW_LIMIT):
            length = int(stream.read(4) or b"0", 16)
            line = stream.read(length - 4) if length > 4 else b""
            if b"\0" in line or not line:
                return frozenset(line.partition(b"\0")[2].decode(errors="replace").split())
        return frozenset()
    except (ValueError, OSError, EOFError):  # Git itself refuses what it cannot read
        return frozenset()
    finally:
        body.seek(0)
        os.lseek(body.fileno(), 0, os.SEEK_SET)  # the child reads the descriptor, whose place a buffered seek leaves


class BackendAnswer:
    """The body of a streamed answer; it ends the child, and gives its turn back, however the stream ends."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        deadline: git.Deadline,
        turns: threading.BoundedSemaphore,
        first_bytes: bytes,
    ) -> None:
        self.child, self.deadline, self.turns, self.first_bytes = child, deadline, turns, first_bytes
        self.open = True

    def __iter__(self) -> Iterator[bytes]:
        out = self.child.stdout
        if self.first_bytes:
            yield self.first_bytes
        while out is not None and (chunk := out.read(CHUNK)):
            yield chunk
        if self.child.wait() or self.deadline.passed:
            # Raised into the server, so that the connection breaks: a short answer must not pass for a whole one.
            raise (
                git.git_too_slow_error()
                if self.deadline.passed
                else Unavailable("Git ended in the middle of its answer.")
            )

    def close(self) -> None:
        if self.open:
            self.open = False
            self.deadline.close()
            if self.child.stdout is not None:
                self.child.stdout.close()
            self.turns.release()


def stream_answer(env: dict[str, str], folder: Path, body: IO[bytes]) -> StreamingHttpResponse:
    """The answer as Git gives it, for fetches: it may be as large as the repository."""
    status, headers, answer = start_backend(env, folder, body)
    return StreamingHttpResponse(answer, status=status, headers=headers)


def collect_answer(env: dict[str, str], folder: Path) -> HttpResponse:
    """A short answer, whole: of what there is."""
    status, headers, answer = start_backend(env, folder, None)
    try:
        return HttpResponse(b"".join(answer), status=status, headers=headers)
    finally:
        answer.close()


def start_backend(
    env: dict[str, str], folder: Path, body: IO[bytes] | None
) -> tuple[int, dict[str, str], BackendAnswer]:
    """Start the child and read the head of its answer."""
    turns = git.take_turn()
    try:
        child = git.start(
            "http-backend",
            cwd=folder,
            env=env,
            stdin=body if body is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
    except BaseException:
        turns.release()
        raise
    answer = BackendAnswer(child, git.Deadline(child, settings.ENV.git_seconds), turns, b"")
    try:
        status, headers, answer.first_bytes = read_head(child.stdout)
    except BaseException:
        answer.close()
        raise
    return status, headers, answer


def read_head(out: IO[bytes] | None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and the bytes behind them that came with them. Unavailable where Git says nothing."""
    data = b""
    while out is not None and b"\r\n\r\n" not in data:
        chunk = out.read(CHUNK)
        if not chunk or len(data) > HEAD_LIMIT:
            raise Unavailable("Git gave no answer.", code="git_failed", hint=N_("Try again; else tell the operator."))
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    status, headers = 200, {}
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "status":
            with suppress(ValueError, IndexError):
                status = int(value.split()[0])
        else:
            headers[name] = value.strip()
    return status, headers, rest


def read_file_answer(out: IO[bytes]) -> HttpResponse:
    """The answer that a child has left in a file: of a push, a few lines."""
    out.seek(0)
    status, headers, rest = read_head(out)
    return HttpResponse(rest + out.read(), status=status, headers=headers)


def start_child(
    env: dict[str, str], folder: Path, body: IO[bytes], out: IO[bytes], **more: Any
) -> subprocess.Popen[bytes]:
    return git.start("http-backend", cwd=folder, env=env, stdin=body, stdout=out, stderr=subprocess.DEVNULL, **more)
