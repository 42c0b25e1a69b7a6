"""Receive a push: Git reads the pack into quarantine, and its hook asks this process whether to accept it.

The rows come first, Git's reference after them: a push that is cut off between the two is in the database, and the
folder follows when somebody next asks for it.
"""

from __future__ import annotations

import logging
import os
import select
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from apps.core.errors import Malformed, PlaneError, TooLarge, Unavailable
from apps.data.repositories import folders, git, http_backend, services
from apps.data.repositories.access import RepositoryTarget
from apps.data.repositories.hook import ASK, END, WORD
from apps.data.repositories.responses import format_error
from apps.data.repositories.trees import QuarantinedObjects
from apps.platform.audit.faults import translate_fault
from deepseek.messages import N_

log = logging.getLogger(__name__)

MAX_HOOK_REQUEST_BYTES = 1 << 20  # bytes of what the hook tells
MAX_LINE_CHARS = 2000  # characters of a line for the person who pushes


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """A ref update. An all-zero SHA means the ref does not exist."""

    old: str
    new: str
    ref: str


def receive_push(request: HttpRequest, target: RepositoryTarget) -> HttpResponseBase:
    """The whole of a push, under the repository's lock; of a dataset that is not there yet, into an empty one."""
    with ExitStack() as stack:
        body = stack.enter_context(http_backend.spool_body(request, settings.ENV.git_push_limit_bytes))
        if target.dataset is not None:  # who waits for a lock must not keep the others from their turns
            stack.enter_context(folders.lock_folder(target.dataset))
        stack.enter_context(git.hold_turn())
        if target.dataset is None:
            folder = stack.enter_context(folders.open_temporary_repository())
        else:
            folder = folders.ensure_current_locked_folder(target.dataset)
        env = http_backend.build_cgi_environment(
            request, target.actor, folder, "git-receive-pack", http_backend.get_length(body)
        )
        capabilities = http_backend.read_capabilities(body, is_gzipped="HTTP_CONTENT_ENCODING" in env)
        is_renamed = False
        out = stack.enter_context(tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR))
        folders.release_connection()

        def decide(commands: list[RefUpdate], quarantine: Path) -> list[str]:
            nonlocal is_renamed
            objects = QuarantinedObjects(folder, quarantine)
            at = reverse("repositories:at", args=[f"{target.project.slug}/{target.name}.git/info/lfs"])
            accepted_push = services.accept_push(
                target=target,
                commands=commands,
                objects=objects,
                lfs_address=request.build_absolute_uri(at),
                is_atomic="atomic" in capabilities,
            )
            is_renamed = accepted_push.is_renamed
            version = accepted_push.version
            page = reverse("datasets:version", args=[target.project.slug, target.name, version.number])
            return [*accepted_push.lines, request.build_absolute_uri(page)]

        before = folders.read_references(folder)
        accepted = run_child(env, folder, body, out, decide)
        if not accepted and folders.read_references(folder) != before:
            # Where programs may not be run (noexec), Git passes over a hook without a word, whatever the reference.
            folders.remove_folder(folder)
            raise Unavailable(
                "The push was not looked at, and is not taken in: the hook of the repository did not run.",
                code="hook_not_run",
                hint=N_("The operator must allow programs in REPOSITORIES_FOLDER."),
            )
        if is_renamed:
            folders.remove_folder(folder)  # it has a branch master now; the rows make it again, with main
        return http_backend.read_file_answer(out)


Decide = Callable[[list[RefUpdate], Path], list[str]]


def run_child(env: dict[str, str], folder: Path, body: IO[bytes], out: IO[bytes], decide: Decide) -> bool:
    """Run the child to its end, answering its hook; whether the push was accepted. Ended when its time is over."""
    accepted = False
    ask_read, ask_write = os.pipe()
    word_read, word_write = os.pipe()
    ours = [ask_read, word_write]
    try:
        try:
            env = {**env, ASK: str(ask_write), WORD: str(word_read)}
            child = http_backend.start_child(env, folder, body, out, pass_fds=(ask_write, word_read))
        finally:
            os.close(ask_write)
            os.close(word_read)
        with git.Deadline(child, settings.ENV.git_seconds) as deadline:
            hook_request = read_hook_request(ask_read, settings.ENV.git_seconds)
            if hook_request is not None:
                accepted, lines = decide_push(hook_request, decide)
                send_verdict(word_write, accepted, lines)
            child.wait()
            if deadline.passed:
                raise git.git_too_slow_error()
        return accepted
    finally:
        for descriptor in ours:
            os.close(descriptor)


def read_hook_request(descriptor: int, seconds: float) -> bytes | None:
    """Read what the hook asks; None where Git ends without asking: nothing to push, or a pack that it cannot read.

    TooLarge for more references than anybody reads: the hook still writes, so nobody may wait for it.
    """
    data, deadline = b"", time.monotonic() + seconds
    poller = select.poll()  # select() itself knows no descriptor above 1023
    poller.register(descriptor, select.POLLIN)
    while not data.endswith(END):
        ready = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        chunk = os.read(descriptor, 65_536) if ready else b""
        data += chunk
        if not chunk:
            return None
        if len(data) > MAX_HOOK_REQUEST_BYTES:
            raise TooLarge(
                "The push moves too many references.",
                code="only_main",
                field="ref",
                limit="main",
                hint=N_("Push main alone: git push origin HEAD:main."),
            )
    return data


def decide_push(hook_request: bytes, decide: Decide) -> tuple[bool, list[str]]:
    """Whether the push is taken in, and what its sender reads. A defect refuses it, and is logged."""
    try:
        quarantine, *rows = hook_request.removesuffix(END).decode().split("\n")
        commands = [RefUpdate(*row.split(" ", 2)) for row in rows if row]
        return True, decide(commands, Path(quarantine))
    except (UnicodeDecodeError, TypeError):
        return False, [format_error(Malformed("The names of the references cannot be read."))]
    except Exception as failure:
        error = failure if isinstance(failure, PlaneError) else translate_fault(failure)
        if error is None:
            log.exception("a push could not be looked at")
            return False, ["The plane failed while it looked at this push; nothing was taken in. Tell the operator."]
        return False, list_error_lines(error)


def list_error_lines(error: PlaneError) -> list[str]:
    """Every message; a hint that several have once, behind the last of them."""
    lines: list[str] = []
    for row in reversed(error.errors):
        hint = row["hint"] if row["hint"] not in lines else None
        lines[:0] = [line for line in (row["message"], hint) if line]
    return lines


def send_verdict(descriptor: int, accepted: bool, lines: list[str]) -> None:
    text = "".join(f" {clean_line(line)}\n" for line in lines)
    with suppress(BrokenPipeError):  # the client is gone, and Git with it
        data = f"{text}{'ok' if accepted else 'no'}\n".encode()
        while data:
            data = data[os.write(descriptor, data) :]


def clean_line(text: str) -> str:
    """Without control characters: a path, or a name, would otherwise write lines of its own."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:MAX_LINE_CHARS]
