"""The process that has the network: started by deepseek/collect/process.py, with an environment built from nothing.

The request comes as JSON on standard input; events go as JSON lines to the descriptor that the first argument names.
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Collect; returns the exit code. 0: the last event is ``done`` or ``error``."""
    events = int(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    from deepseek.collect.gate import Gate
    from deepseek.collect.spec import CollectSpec
    from deepseek.connector import Connector
    from deepseek.job import EngineError

    spec = CollectSpec.model_validate(request["spec"])
    lock = threading.Lock()

    def write_event(event: dict[str, Any]) -> None:
        data = json.dumps(event, ensure_ascii=True).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(events, data) :]

    gate = Gate(spec.allowed_hosts, request["allowed"])
    if request["connector"] is not None:
        gate.connect_through(Connector(request["connector"]))
    gate.close_process()
    try:
        write_event({"event": "done", "report": collect(spec, gate, Path(request["folder"]), write_event)})
    except EngineError as error:
        write_event({"event": "error", **error.as_dict()})
    return 0


def collect(spec: Any, gate: Any, folder: Path, say: Any) -> dict[str, Any]:
    """Run Scrapy to its end, and with it the browser and its proxy if a page asks for them."""
    from scrapy.crawler import AsyncCrawlerProcess
    from scrapy.settings import Settings

    from deepseek.collect.crawl import Crawl
    from deepseek.collect.fetch import OneByOne, build_settings

    logging.getLogger("scrapy").setLevel(logging.ERROR)
    crawl = Crawl(spec, gate, folder, say)
    rendering = Rendering(spec, gate, folder) if spec.extra == "collect-browser" else None
    spiders: list[OneByOne] = []

    async def run_crawl(spider: OneByOne) -> None:
        spiders.append(spider)
        try:
            if rendering is not None:
                await rendering.open()
            await crawl.fetch_all(spider)
        finally:
            if rendering is not None:
                await rendering.close()

    process = AsyncCrawlerProcess(Settings(build_settings(spec, gate)))
    process.crawl(OneByOne, gate=gate, browser=rendering, work=run_crawl)
    process.start(stop_after_crawl=True, install_signal_handlers=False)
    if not spiders:
        raise RuntimeError("the crawler did not start")
    if spiders[0].failure is not None:
        raise spiders[0].failure
    return dict(crawl.report(rendering.received if rendering else 0))


class Rendering:
    """The browser behind its proxy: started with the first page that needs it, one page at a time."""

    def __init__(self, spec: Any, gate: Any, folder: Path) -> None:
        self._spec, self._gate, self._folder = spec, gate, folder
        self._turn = asyncio.Lock()
        self._proxy: Any = None
        self._browser: Any = None
        self.received = 0

    async def open(self) -> None:
        from deepseek.collect.browser import Browser
        from deepseek.collect.proxy import FilteringProxy

        limits = self._spec.limits
        self._proxy = FilteringProxy(self._gate, seconds=limits.page_seconds, max_bytes=limits.max_page_bytes)
        port = await self._proxy.start()
        headers = {header.name: header.value for header in self._spec.headers}
        self._browser = Browser(self._folder, proxy_port=port, user_agent=self._spec.user_agent, headers=headers)
        self._gate.accept_own_port(self._browser.port)
        self._gate.accept_own_port(port)

    async def render(self, url: str, wait_for: str) -> Any:
        async with self._turn:
            seconds = self._spec.limits.page_seconds
            rendered = await asyncio.to_thread(
                self._browser.fetch, url, wait_for=wait_for, seconds=seconds, check=self._gate.check
            )
        self.received = self._proxy.received
        return rendered

    async def close(self) -> None:
        await asyncio.to_thread(self._browser.close)
        await self._proxy.close()
        self.received = self._proxy.received


if __name__ == "__main__":
    code = 1
    with suppress(BrokenPipeError):
        code = main()
    sys.exit(code)
