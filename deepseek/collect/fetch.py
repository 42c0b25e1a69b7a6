"""Scrapy, set up so that every request passes the gate, and one page asked for at a time by whoever crawls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from scrapy import Request, Spider
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
)
from scrapy.http import HtmlResponse, Response
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from deepseek.collect.browser import PageFailed, PageTimeout, Rendered
from deepseek.collect.gate import Gate, Refused, resolve
from deepseek.collect.spec import CollectSpec

AT_ONCE = 64
"""Requests under way over all hosts, at most."""
REDIRECTS = 10
RETRIED = [408, 429, 500, 502, 503, 504, 522, 524]


class Renders(Protocol):
    """What fetches a page in a browser."""

    async def render(self, url: str, wait_for: str) -> Rendered: ...


class Failed(Exception):
    """A page that cannot be had. `kind`: http_404, timeout, too_large, robots, refused ...; stable, for the report."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


@dataclass(frozen=True, slots=True)
class Fetched:
    """One page as it came. `url`: after redirects."""

    url: str
    status: int
    body: bytes
    content_type: str


class GatedHandler(HTTP11DownloadHandler):
    """The last step before a connection: the host and its addresses are checked, robots.txt and redirects included."""

    lazy = False

    async def download_request(self, request: Request) -> Response:
        spider = get_spider(self._crawler)
        host, port = spider.gate.check(request.url)
        await resolve(spider.gate, host, port)
        wait_for = request.meta.get("wait_for")
        if wait_for is None or spider.browser is None:
            return await super().download_request(request)
        rendered = await spider.browser.render(request.url, wait_for)
        return HtmlResponse(rendered.url, status=rendered.status or 200, body=rendered.html.encode("utf-8", "replace"))


class GateMiddleware:
    """Before anything else looks at a request: a foreign one is not even asked for its robots.txt."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> "GateMiddleware":
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        spider = get_spider(self._crawler)
        try:
            spider.gate.check(request.url)
        except Refused as refused:
            spider.gate.count(refused)
            raise


def build_resolver_class(gate: Gate) -> type:
    """A name resolver of Twisted that knows only what the gate admits."""

    @implementer(IHostnameResolver)
    class GateResolver:
        def __init__(self, reactor: Any) -> None:
            self._reactor = reactor

        @classmethod
        def from_crawler(cls, crawler: Crawler, reactor: Any) -> "GateResolver":
            return cls(reactor)

        def install_on_reactor(self) -> None:
            self._reactor.installNameResolver(self)

        def resolveHostName(
            self,
            resolutionReceiver: IResolutionReceiver,
            hostName: str,
            portNumber: int = 0,
            addressTypes: object = None,
            transportSemantics: str = "TCP",
        ) -> IHostResolution:
            receiver: Any = resolutionReceiver
            resolution = _Resolution(hostName)
            receiver.resolutionBegan(resolution)

            async def answer() -> None:
                try:
                    for address in await resolve(gate, hostName, portNumber):
                        kind = IPv6Address if ":" in address else IPv4Address
                        receiver.addressResolved(kind("TCP", address, portNumber))
                except Refused:
                    pass  # no address is how a resolver says so
                receiver.resolutionComplete()

            resolution.task = asyncio.ensure_future(answer())
            return cast("IHostResolution", resolution)

    return GateResolver


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Future[None] | None = None

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if self.task is not None:
            self.task.cancel()


class OneByOne(Spider):
    """A spider that hands the engine to `work` and is done when that is; schedules nothing by itself."""

    name = "collect"

    def __init__(
        self, gate: Gate, browser: Renders | None, work: Callable[["OneByOne"], Awaitable[None]], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.gate, self.browser, self._work = gate, browser, work
        self.failure: BaseException | None = None

    async def start(self) -> AsyncIterator[Any]:
        try:
            await self._work(self)
        except BaseException as failure:  # noqa: BLE001  Scrapy would log it and go on; the process says what it was
            self.failure = failure
        return
        yield  # makes it the iterator that Scrapy asks for

    async def fetch(self, url: str, *, wait_for: str | None) -> Fetched:
        """The page at `url`; `wait_for` is not None for a page in the browser. Raises Failed."""
        meta: dict[str, Any] = {} if wait_for is None else {"wait_for": wait_for}
        request = Request(url, meta=meta, dont_filter=True)
        try:
            engine: Any = self.crawler.engine
            response = await engine.download_async(request)
        except Exception as error:  # noqa: BLE001  whatever Scrapy, Twisted or the browser raises is one page's failure
            raise build_failure(error) from None
        if not 200 <= response.status < 300:
            raise Failed(f"http_{response.status}", f"The host answered {response.status}.")
        content_type = (response.headers.get("Content-Type") or b"").decode("latin-1")
        if isinstance(response, HtmlResponse) and wait_for is not None:
            content_type = "text/html; charset=utf-8"
        return Fetched(response.url, response.status, response.body, content_type)


def get_spider(crawler: Crawler) -> OneByOne:
    """The one spider that this process runs."""
    if not isinstance(crawler.spider, OneByOne):
        raise TypeError("the crawler has no spider yet")
    return crawler.spider


def build_failure(error: Exception) -> Failed:
    """What an error of the download says, under a name that stays the same."""
    text = str(error) or type(error).__name__
    match error:
        case Refused():
            return Failed("refused", error.message)
        case IgnoreRequest() if "robots.txt" in text:
            return Failed("robots", "robots.txt of the host forbids this page.")
        case IgnoreRequest():
            return Failed("redirects", f"More than {REDIRECTS} redirects, or one that leads nowhere: {text}")
        case DownloadTimeoutError() | PageTimeout():
            return Failed("timeout", text)
        case DownloadCancelledError():
            return Failed("too_large", text)
        case DownloadConnectionRefusedError():
            return Failed("connection_refused", text)
        case CannotResolveHostError():
            return Failed("name", text)
        case PageFailed():
            return Failed("browser", text)
    return Failed("connection", f"{type(error).__name__}: {text}"[:300])


def build_settings(spec: CollectSpec, gate: Gate) -> dict[str, Any]:
    """Scrapy's settings: only what is needed is on."""
    rate, limits = spec.rate, spec.limits
    return {
        "DOWNLOAD_HANDLERS": {
            "http": GatedHandler, "https": GatedHandler,
            "file": None, "ftp": None, "s3": None, "data": None,
        },
        "DOWNLOADER_MIDDLEWARES": {GateMiddleware: 10},
        "DNS_RESOLVER": build_resolver_class(gate),
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "USER_AGENT": spec.user_agent,
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            **{header.name: header.value for header in spec.headers},
        },
        "ROBOTSTXT_OBEY": spec.robots.obey,
        "DOWNLOAD_DELAY": 1.0 / rate.requests_per_second,
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        "CONCURRENT_REQUESTS": AT_ONCE,
        "CONCURRENT_REQUESTS_PER_DOMAIN": rate.concurrency,
        "AUTOTHROTTLE_ENABLED": rate.autothrottle,
        "AUTOTHROTTLE_START_DELAY": 1.0 / rate.requests_per_second,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": float(rate.concurrency),
        "RETRY_TIMES": rate.retries,
        "RETRY_ENABLED": rate.retries > 0,
        "RETRY_HTTP_CODES": RETRIED,
        "REDIRECT_MAX_TIMES": REDIRECTS,
        "DOWNLOAD_TIMEOUT": limits.page_seconds,
        "DOWNLOAD_MAXSIZE": limits.max_page_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "COOKIES_ENABLED": False,
        "REFERER_ENABLED": False,
        "HTTPPROXY_ENABLED": False,
        "HTTPCACHE_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "MEMUSAGE_ENABLED": False,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
    }  # fmt: skip
