"""The network of a study: NVFlare's cellnet over gRPC with mutual TLS, narrowed to what a study needs.

Every connection is opened by a site; the server only answers. NVFlare checks that the name that a peer claims is that
of its certificate. A cell of ours takes nothing else than bytes that the peer itself has sent to it: nothing is passed
on between sites, no further connections are opened, and no payload reaches NVFlare's object serializer.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvflare.fuel.f3.cellnet.core_cell import CoreCell, Message, MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import CellChannel, CellChannelTopic, Encoding, ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.comm_config import CommConfigurator
from nvflare.fuel.f3.connection import Connection
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.utils.config_service import ConfigService

from deepseek.federated.credentials import CA_CERTIFICATE, check_home
from deepseek.federated.errors import FederationError
from deepseek.federated.spec import SERVER_NAME, StudySpec
from deepseek.federated.tunnel import WayOut
from deepseek.federated.wire import MAX_HEADER_BYTES
from deepseek.messages import N_

log = logging.getLogger(__name__)

CHANNEL = "study"
REQUEST_SECONDS, BYTES_PER_SECOND = 10.0, 20_000  # of a request, and the slowest line that it is waited for
REFUSED_SECONDS = 30.0  # that a site's proxy is asked again: its rules may be about to be loaded
PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 2.0
WORKERS = 128  # threads of the server, one a connection
PERMANENT = frozenset(
    {
        ReturnCode.PROCESS_EXCEPTION,
        ReturnCode.INVALID_REQUEST,
        ReturnCode.MSG_TOO_BIG,
        ReturnCode.FILTER_ERROR,
        ReturnCode.AUTHENTICATION_ERROR,
        ReturnCode.UNAUTHENTICATED,
        ReturnCode.INVALID_SESSION,
        ReturnCode.ABORT_RUN,
    }
)
"""Answers of a server that is there: the same request comes to the same. The others are the network's, or pass."""
MAX_REASON_BYTES = 300
PLAIN = (None, Encoding.BYTES, Encoding.NONE)
Handler = Callable[[str, bytes], bytes]
"""handler(site, request) -> reply."""


class StudyCell(CoreCell):  # type: ignore[misc]
    """A cell that takes only plain messages of this study from the peer that sent them."""

    max_bytes = 0

    def process_message(self, endpoint: Endpoint, connection: Connection, app_id: int, message: Message) -> None:
        reason = self.find_refusal(endpoint, message)
        if reason:
            log.warning("a message from %s is dropped: %s", endpoint.name, reason)
            return
        super().process_message(endpoint, connection, app_id, message)

    def find_refusal(self, endpoint: Endpoint, message: Message) -> str:
        """Why the message is dropped, or an empty text."""
        header = message.get_header
        names = {endpoint.name, header(MessageHeaderKey.ORIGIN), header(MessageHeaderKey.FROM_CELL)}
        if len(names) != 1:
            return "it was sent by another cell"
        if header(MessageHeaderKey.DESTINATION) != self.get_fqcn():
            return "it is for another cell"
        if header(MessageHeaderKey.PAYLOAD_ENCODING) not in PLAIN or header(MessageHeaderKey.SECURE):
            return "its payload is not plain bytes"
        if header(MessageHeaderKey.CONN_URL):
            return "it offers another connection"
        topic = (header(MessageHeaderKey.CHANNEL), header(MessageHeaderKey.TOPIC))
        if topic[0] != CHANNEL and topic != (CellChannel.CELLNET, CellChannelTopic.Bye):
            return "it is on another channel"
        size = len(message.payload) if message.payload is not None else 0
        return "it is too large" if size > self.max_bytes else ""


def configure_nvflare(study: StudySpec) -> None:
    """Tell NVFlare how to connect, by a configuration file of its own; once a process.

    The server's certificate is of the study's own authority and names the server, so sites check that name and not the
    address. Proxies of the environment do not count: a site's own one is asked by deepseek/federated/tunnel.py.
    """
    options: list[list[Any]] = [
        ["grpc.ssl_target_name_override", SERVER_NAME],
        ["grpc.enable_http_proxy", 0],
        ["grpc.max_send_message_length", compute_max_bytes(study) + MAX_HEADER_BYTES],
        ["grpc.max_receive_message_length", compute_max_bytes(study) + MAX_HEADER_BYTES],
        ["grpc.keepalive_time_ms", 30_000],
        ["grpc.keepalive_timeout_ms", 10_000],
        ["grpc.http2.max_pings_without_data", 0],
        ["grpc.so_reuseport", 0],
    ]
    config = {"allow_adhoc_conns": False, "use_aio_grpc": False, "grpc": {"max_workers": WORKERS, "options": options}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "comm_config.json").write_text(json.dumps(config))
        ConfigService.reset()
        ConfigService.initialize(section_files={}, config_path=[folder])
        CommConfigurator.reset()
        CommConfigurator()  # reads the file now, and no other one later


def compute_max_bytes(study: StudySpec) -> int:
    """Of one message with its headers."""
    return study.update_bytes + 2 * MAX_HEADER_BYTES


def open_server_cell(home: Path, address: str, *, study: StudySpec, handlers: dict[str, Handler]) -> StudyCell:
    """Listen on `address` and answer the topics of `handlers`. Raises FederationError ``address_in_use``."""
    check_home(home, "server")
    credentials = {
        "ca_cert": str(home / CA_CERTIFICATE),
        "server_cert": str(home / "server.pem"),
        "server_key": str(home / "server.key"),
    }
    cell = StudyCell(fqcn=SERVER_NAME, root_url=f"grpcs://{address}", secure=True, credentials=credentials)
    cell.max_bytes = compute_max_bytes(study)
    for topic, handler in handlers.items():
        cell.register_request_cb(channel=CHANNEL, topic=topic, cb=answer, handler=handler)
    cell.start()
    return cell


def answer(message: Message, handler: Handler) -> Message:
    """NVFlare's callback: the reply of the handler to a request. A fault of the machine may pass; another one is told
    by its kind alone, since its text may hold what the site is not to see."""
    site = str(message.get_header(MessageHeaderKey.ORIGIN))
    try:
        return make_reply(ReturnCode.OK, body=handler(site, bytes(message.payload or b"")))
    except OSError:
        log.exception("a request of %s failed", site)
        return make_reply(ReturnCode.SERVICE_UNAVAILABLE)
    except Exception as failure:  # the server goes on whatever one site sends
        log.exception("a request of %s failed", site)
        return make_reply(ReturnCode.PROCESS_EXCEPTION, body=type(failure).__name__.encode())


class SiteConnection:
    """A site's connection to the server: it asks, and goes on asking while the server is away.

    `way_out`: what leads there, if the site cannot connect by itself.
    """

    def __init__(
        self, home: Path, server: str, *, site: str, study: StudySpec, patience: float, way_out: WayOut | None = None
    ) -> None:
        check_home(home, "site")
        credentials = {
            "ca_cert": str(home / CA_CERTIFICATE),
            "client_cert": str(home / "site.pem"),
            "client_key": str(home / "site.key"),
        }
        self.patience, self.way_out = patience, way_out
        address = way_out.address if way_out else server
        self._cell = StudyCell(fqcn=site, root_url=f"grpcs://{address}", secure=True, credentials=credentials)
        self._cell.max_bytes = compute_max_bytes(study)
        self._cell.start()

    def request(self, topic: str, payload: bytes) -> bytes:
        """The server's reply. Raises FederationError ``server_unreachable`` once it has been away for `patience`,
        ``proxy_refused`` once the site's proxy has refused to connect for REFUSED_SECONDS, and ``message_refused`` at
        once for an answer that would be the same again."""
        deadline, pause = time.monotonic() + self.patience, PAUSE_SECONDS
        seconds = REQUEST_SECONDS + (len(payload) + self._cell.max_bytes) / BYTES_PER_SECOND
        while True:
            if self._cell.is_backbone_ready():
                message = Message({}, payload)
                reply = self._cell.send_request(CHANNEL, topic, SERVER_NAME, message, timeout=seconds)
                code = reply.get_header(MessageHeaderKey.RETURN_CODE)
                if code == ReturnCode.OK:
                    return bytes(reply.payload or b"")
                if code in PERMANENT:
                    raise build_failed_error(topic, str(code), reply.payload)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            if self.way_out and is_refused(self.way_out):
                raise build_proxy_error(self.way_out)
            if time.monotonic() > deadline:
                raise build_unreachable_error(self.patience, self.way_out.failure if self.way_out else "")
            time.sleep(pause)

    def close(self) -> None:
        self._cell.stop()


def build_failed_error(topic: str, code: str, payload: Any) -> FederationError:
    reason = bytes(payload)[:MAX_REASON_BYTES].decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return FederationError(
        "message_refused",
        N_("The server of the study failed at the message {topic}: {reason}."),
        field="/server",
        value=code,
        limit="an answer of the study's server",
        hint=N_("Ask the coordinator what the log of its job says; then retry this job, which goes on where it was."),
        topic=topic,
        reason=reason or code,
    )


def is_refused(way_out: WayOut) -> bool:
    """Whether the proxy has done nothing but refuse for too long."""
    since = way_out.refused_at
    return since is not None and time.monotonic() - since >= REFUSED_SECONDS


def build_proxy_error(way_out: WayOut) -> FederationError:
    return FederationError(
        "proxy_refused",
        N_("The proxy {proxy} does not connect to {server}: {reason}."),
        field="/proxy",
        limit=N_("an answer of 200 to CONNECT, without a password"),
        hint=N_("Have the operator of the proxy allow CONNECT to the server of the study, then retry the job."),
        proxy=way_out.proxy,
        server=way_out.server,
        reason=way_out.failure,
    )


def build_unreachable_error(seconds: float, failure: str) -> FederationError:
    message = N_("The server of the study has not answered for {seconds} seconds.")
    reason = {}
    if failure:
        message = N_("The server of the study has not answered for {seconds} seconds: {reason}.")
        reason = {"reason": failure}
    return FederationError(
        "server_unreachable",
        message,
        field="/server",
        limit="an answer over mutual TLS",
        hint=N_("Check the address, the proxy, the firewall, and that both certificates are of this study."),
        seconds=round(seconds),
        **reason,
    )
