"""Measurements of networks: connections that should work, and attempts that must be refused."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 8.0
MAX_BODY_BYTES = 4 << 20
UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}
DENIED = {errno.EPERM, errno.EACCES}
TLS_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def measure_loopback() -> dict[str, Any]:
    """A connection over 127.0.0.1 and a hundred round trips of one byte."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=_echo, args=(server,), daemon=True)
            thread.start()
            with socket.create_connection(server.getsockname(), timeout=CONNECT_SECONDS) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                start = time.perf_counter()
                for _ in range(100):
                    client.sendall(b"x")
                    client.recv(1)
                return {"error": "", "milliseconds": 10 * (time.perf_counter() - start)}
    except OSError as error:
        return {"error": str(error), "milliseconds": 0.0}


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while byte := connection.recv(1):
            connection.sendall(byte)


def attempt(protocol: str, address: str, port: str) -> dict[str, Any]:
    """`outcome`: connected, refused, unreachable, denied, or timeout: nobody answered, or it was dropped."""
    try:
        return {"outcome": _attempt(protocol, address, int(port))}
    except TimeoutError:
        return {"outcome": "timeout"}
    except ConnectionRefusedError:
        return {"outcome": "refused"}
    except OSError as error:
        if error.errno in DENIED:
            return {"outcome": "denied"}
        if error.errno in UNREACHABLE or isinstance(error, socket.gaierror):
            return {"outcome": "unreachable"}
        return {"unmeasured": f"An attempt by {protocol.upper()} ended with {error}."}


def _attempt(protocol: str, address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if protocol == "tcp":
        socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
        return "connected"
    kind, number = (socket.SOCK_RAW, socket.IPPROTO_ICMP) if protocol == "icmp" else (socket.SOCK_DGRAM, 0)
    try:
        probe = socket.socket(family, kind, number)
    except PermissionError:
        if protocol != "icmp":
            raise
        probe = socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    with probe:
        probe.settimeout(CONNECT_SECONDS)
        probe.connect((address, port))
        probe.send(_build_echo() if protocol == "icmp" else b"deepseek-doctor")
        probe.recv(1024)
    return "connected"


def _build_echo() -> bytes:
    """An ICMP echo request with its checksum (RFC 792)."""
    body = b"deepseek-doctor!"
    header = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
    words = struct.unpack(f"!{len(header + body) // 2}H", header + body)
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", 8, 0, checksum, os.getpid() & 0xFFFF, 1) + body


def resolve(name: str) -> dict[str, Any]:
    """The addresses of a name; none where it is not resolved. The caller's time limit ends a resolver that hangs."""
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return {"addresses": []}
    return {"addresses": sorted({str(row[4][0]) for row in rows})}


def build_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("DEEPSEEK_CA") or None)


def fetch(url: str, token: str = "") -> dict[str, Any]:
    """A GET without a proxy and without following a redirect."""
    answer: dict[str, Any] = {"status": 0, "milliseconds": 0.0, "offset_seconds": None, "document": None, "error": ""}
    parts = urlsplit(url)
    try:
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=ANSWER_SECONDS, context=build_context()
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=ANSWER_SECONDS)
        headers = {"Accept": "application/json, text/html"} | ({"Authorization": f"Bearer {token}"} if token else {})
        start = time.perf_counter()
        connection.request("GET", parts.path or "/", headers=headers)
        reply = connection.getresponse()
        body = reply.read(MAX_BODY_BYTES)
        answer["milliseconds"] = 1000 * (time.perf_counter() - start)
        answer["status"] = reply.status
        if date := reply.getheader("Date"):
            half = answer["milliseconds"] / 2000
            answer["offset_seconds"] = round(time.time() - half - parsedate_to_datetime(date).timestamp() - 0.5, 2)
        if (reply.getheader("Content-Type") or "").startswith("application/json"):
            answer["document"] = json.loads(body)
    except (OSError, ValueError, http.client.HTTPException) as error:
        answer["error"] = str(error) or type(error).__name__
    return answer


def ask_plane(path: str) -> dict[str, Any]:
    """GET of the plane that DEEPSEEK_URL names; the token goes only to its API."""
    token = os.environ.get("DEEPSEEK_TOKEN", "") if path.startswith("/api/") else ""
    return fetch(os.environ["DEEPSEEK_URL"].rstrip("/") + path, token)


def examine_tls() -> dict[str, Any]:
    """Days that the plane's certificate is still valid, by our trust, and the versions of TLS that it speaks."""
    parts = urlsplit(os.environ["DEEPSEEK_URL"])
    host, port = parts.hostname or "", parts.port or 443
    answer: dict[str, Any] = {"error": "", "days_left": 0.0, "versions": []}
    try:
        with (
            socket.create_connection((host, port), timeout=CONNECT_SECONDS) as raw,
            build_context().wrap_socket(raw, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
            answer["days_left"] = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    except (OSError, KeyError, ValueError) as error:
        answer["error"] = str(error)
    answer["versions"] = [version.name for version in TLS_VERSIONS if _speaks(host, port, version)]
    return answer


def _speaks(host: str, port: int, version: ssl.TLSVersion) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whether it speaks it, not who it is
    try:
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as raw, context.wrap_socket(raw):
            return True
    except (OSError, ValueError):
        return False


def measure_gloo() -> dict[str, Any]:
    """An all-reduce of 16 MiB between two processes."""
    import subprocess

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "deepseek.doctor.probes", "gloo_rank"]
    ranks = [
        subprocess.Popen(
            command, env={**environment, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=50) for rank in ranks]
    try:
        answers = [json.loads(out) for out, _ in outputs]
    except ValueError:
        lines = outputs[0][1].decode(errors="replace").strip().splitlines()
        return {"right": False, "error": lines[-1] if lines else "no answer", "bytes_per_second": 0.0}
    rate = min(answer["bytes_per_second"] for answer in answers)
    return {"right": all(answer["right"] for answer in answers), "error": "wrong sum", "bytes_per_second": rate}


def run_gloo_rank() -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    tensor = torch.full((4 << 20,), float(dist.get_rank() + 1))
    dist.all_reduce(tensor.clone())
    start = time.perf_counter()
    dist.all_reduce(tensor)
    seconds = time.perf_counter() - start
    right = bool((tensor == 3).all().item())
    dist.destroy_process_group()
    return {"right": right, "bytes_per_second": 4 * tensor.numel() / seconds}


PROBES = {
    "loopback": measure_loopback,
    "reach": attempt,
    "resolve": resolve,
    "fetch": fetch,
    "plane": ask_plane,
    "tls": examine_tls,
    "gloo": measure_gloo,
    "gloo_rank": run_gloo_rank,
}
