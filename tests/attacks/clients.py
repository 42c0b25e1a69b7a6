"""Connections that cost the attacker nothing: H5."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import httpx

from tests.attacks.target import PROJECT, HealthClock, Outcome, Target

SECONDS = 30.0
ANSWER_SECONDS = 1.0
HALF = b"GET /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def hold_half_headers(target: Target) -> Outcome:
    """H5: 300 connections that never end their headers."""
    return besiege(target, 300, lambda number: HALF, b"a")


def trickle_bodies(target: Target) -> Outcome:
    """H5: 140 log-in forms whose bodies come a byte at a time, with the CSRF cookie."""
    browser = httpx.Client(base_url=target.address)
    browser.get("/accounts/login/")
    token = browser.cookies.get("csrftoken", "")
    head = (
        f"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nCookie: csrftoken={token}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\n"
    ).encode()
    return besiege(target, 140, lambda number: head, b"a")


def besiege(target: Target, count: int, opening: Callable[[int], bytes], drop: bytes) -> Outcome:
    """Keep `count` connections open, each with a byte now and then; new ones take the place of those that end."""
    ended = threading.Event()

    def hold(number: int) -> None:
        while not ended.is_set():
            try:
                with socket.create_connection(("127.0.0.1", target.port), timeout=5) as connection:
                    connection.sendall(opening(number))
                    while not ended.wait(3.0):
                        connection.sendall(drop)
            except OSError:
                ended.wait(0.5)

    threads = [threading.Thread(target=hold, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(2.0)  # the attack stands before anybody looks
    reads, slowest = 0, 0.0
    with target.health() as clock:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                target.send("GET", f"{PROJECT}/jobs?limit=5", timeout=20).raise_for_status()
                reads += 1
            except httpx.HTTPError:
                slowest = max(slowest, 20.0)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.3)
    ended.set()
    for thread in threads:
        thread.join(timeout=10)
    return Outcome(is_calm(clock) and slowest < 2 * ANSWER_SECONDS, describe(clock, reads, slowest))


def is_calm(clock: HealthClock) -> bool:
    return clock.failures == 0 and clock.slowest < ANSWER_SECONDS


def describe(clock: HealthClock, reads: int, slowest: float) -> str:
    health = f"/healthz at most {clock.slowest:.2f} s, {clock.failures} failed"
    return f"{health}; {reads} reads of jobs, slowest {slowest:.2f} s"
