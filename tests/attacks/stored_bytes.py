"""Bytes that changed on the disk: M3, M4."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

import httpx

from controlplane.rest_client import ApiError
from tests.attacks.target import PROJECT, Outcome, Target

SIZE = 3_000_000


def serve_flipped_byte(target: Target) -> Outcome:
    """M3: one byte of an artifact is another; the answer must not look good."""
    return serve_damaged(target, flip_byte, place=SIZE // 2)


def serve_truncated_file(target: Target) -> Outcome:
    """M3: the file was cut to half; the answer must not be a 200 of half the bytes."""
    return serve_damaged(target, cut_file, place=SIZE // 2)


def serve_damaged(target: Target, damage, *, place: int) -> Outcome:
    data = os.urandom(SIZE)
    digest = target.put_bytes(data)
    damage(target, digest, place)
    url = f"{PROJECT}/artifacts/{digest}"
    seen, good = [], True
    for headers in ({}, {"Range": f"bytes={place - 10}-{place + 10}"}):
        try:
            answer = target.send("GET", url, headers=headers)
            got = answer.content
            wanted = data if not headers else data[place - 10 : place + 11]
            good &= answer.status_code >= 400 or got == wanted
            seen.append(f"{answer.status_code} with {len(got):,} bytes")
        except httpx.HTTPError as failure:
            seen.append(type(failure).__name__)
    state = target.send("GET", f"{url}/info").json()
    return Outcome(good, f"{'; '.join(seen)}; then {state.get('state') or state.get('damaged') or state}")


def repair_by_upload(target: Target) -> Outcome:
    """M4: the same bytes are uploaded again, and the job that had failed is tried again."""
    data = os.urandom(SIZE)
    digest = target.put_bytes(data)
    flip_byte(target, digest, SIZE // 2)
    job = target.run_job("noop", {}, inputs={"a": {"digest": digest}})
    first = (job["error"] or {}).get("code")
    target.put_bytes(data)
    whole = hashlib.sha256(target.stored_file(digest).read_bytes()).hexdigest() == digest
    plane = target.plane()
    if plane.get(f"/jobs/{job['id']}")["state"] == "failed":
        with suppress(ApiError):  # the plane may have queued it again meanwhile
            plane.post(f"/jobs/{job['id']}/retry")
    ended = plane.wait(job["id"], seconds=60)["state"]
    return Outcome(whole and ended == "succeeded", f"job failed with {first}; bytes right again: {whole}; then {ended}")


def flip_byte(target: Target, digest: str, place: int) -> None:
    path = target.stored_file(digest)
    path.chmod(0o600)
    with path.open("r+b") as stored:
        stored.seek(place)
        byte = stored.read(1)
        stored.seek(place)
        stored.write(bytes([byte[0] ^ 1]))


def cut_file(target: Target, digest: str, place: int) -> None:
    path = target.stored_file(digest)
    path.chmod(0o600)
    os.truncate(path, place)
