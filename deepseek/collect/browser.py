"""Chromium driven by Selenium, with no way to the network but the filtering proxy."""

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.utils import free_port
from selenium.webdriver.support.wait import WebDriverWait

from deepseek.collect.proxy import NOWHERE

BROWSERS = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")
"""Debian's own file first: the script in front of it adds flags and keys of a service that is never called."""
DRIVER = "chromedriver"
PR_SET_PDEATHSIG = 1

FLAGS = (
    "--headless=new",
    # Every name is unknown to it and every address goes to the proxy, loopback too: Chromium would pass it by.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--proxy-bypass-list=<-loopback>",
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--dns-prefetch-disable",
    # What it would do unasked.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-component-extensions-with-background-pages",
    "--disable-client-side-phishing-detection",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-features=NetworkTimeServiceQuerying,OptimizationHints,MediaRouter,Translate,"
    "CertificateTransparencyComponentUpdater,OptimizationGuideModelDownloading,AutofillServerCommunication",
    "--disable-search-engine-choice-screen",
    f"--gaia-url=http://{NOWHERE}",
    f"--component-updater=url-source=http://{NOWHERE}",
    "--extensions-update-frequency=31536000",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    # A folder of shared memory is small in a container.
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--mute-audio",
    "--window-size=1440,2000",
    "--remote-debugging-pipe",  # no port that others on this machine could drive it by
)
PREFERENCES = {
    "webrtc.ip_handling_policy": "disable_non_proxied_udp",
    "safebrowsing.enabled": False,
    "search.suggest_enabled": False,
    "signin.allowed": False,
    "signin.allowed_on_next_startup": False,
    "default_search_provider.enabled": False,
    "default_search_provider_data.template_url_data": {},
    "session.restore_on_startup": 4,
    "session.startup_urls": ["about:blank"],
    "net.network_prediction_options": 2,
    "download_restrictions": 3,
    "profile.default_content_setting_values.notifications": 2,
    "profile.default_content_setting_values.geolocation": 2,
}
STATUS = "const e = performance.getEntriesByType('navigation')[0]; return [e ? e.responseStatus : 0, document.URL]"


class PageTimeout(Exception):
    """The page, or what was waited for in it, did not come in time."""


class PageFailed(Exception):
    """The browser could not show the page, or is gone."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The document as it stood after its scripts; `status` as the host answered, 0 where the browser does not tell."""

    url: str
    status: int
    html: str


def find_browser() -> tuple[str, str] | None:
    """Paths of Chromium and of its driver; None unless both are there."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which(DRIVER)
    return (browser, driver) if browser and driver else None


class Browser:
    """One browser, started with its first page. Its calls block, and only one may be made at a time."""

    def __init__(self, folder: Path, *, proxy_port: int, user_agent: str, headers: dict[str, str]) -> None:
        self._folder, self._proxy_port = folder, proxy_port
        self._user_agent, self._headers = user_agent, headers
        self._driver: webdriver.Chrome | None = None
        self.port = free_port()  # of its driver

    def fetch(self, url: str, *, wait_for: str, seconds: float, check: Callable[[str], object]) -> Rendered:
        """The page once it is loaded and `wait_for`, a CSS selector, fits. Raises PageTimeout or PageFailed.

        `check` is given every address that the page is found at, for its scripts may lead away, and may raise.
        """
        ends = time.monotonic() + seconds
        try:
            driver = self._driver or self._start()
            driver.set_page_load_timeout(max(0.1, ends - time.monotonic()))
            driver.get(url)
            if wait_for:
                left = max(0.1, ends - time.monotonic())
                WebDriverWait(driver, left, 0.1).until(lambda address: _is_there(address, wait_for, check))
            status, address = driver.execute_script(STATUS)
            check(str(address))
            return Rendered(str(address), int(status), driver.page_source)
        except TimeoutException:
            raise PageTimeout(f"not there within {seconds:g} s" + (f": {wait_for}" if wait_for else "")) from None
        except WebDriverException as error:
            self._forget_dead()
            raise PageFailed((error.msg or type(error).__name__).splitlines()[0][:300]) from None
        finally:
            self._close_page()

    def close(self) -> None:
        """End the browser and its driver."""
        driver, self._driver = self._driver, None
        if driver is not None:
            try:
                driver.quit()
            except (WebDriverException, OSError):
                driver.service.stop()

    def _start(self) -> webdriver.Chrome:
        paths = find_browser()
        if paths is None:
            raise PageFailed("Chromium or its driver is not installed")
        options = Options()
        options.binary_location = paths[0]
        options.page_load_strategy = "normal"
        options.unhandled_prompt_behavior = "dismiss"
        options.add_experimental_option("prefs", PREFERENCES)
        for flag in (
            *FLAGS,
            f"--proxy-server=http://127.0.0.1:{self._proxy_port}",
            f"--user-data-dir={self._folder / 'browser'}",
            f"--user-agent={self._user_agent}",
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # Chromium has no sandbox for root
        ):
            options.add_argument(flag)
        # A socket's path has 107 characters at most, and a scratch folder's may be longer: by this way it is short.
        environment = {**os.environ, "TMPDIR": f"/proc/{os.getpid()}/cwd"}
        service = Service(
            executable_path=paths[1], port=self.port, env=environment, popen_kw={"preexec_fn": _kill_with_parent}
        )
        self._driver = webdriver.Chrome(options=options, service=service)
        self._driver.execute_cdp_cmd("Network.enable", {})
        self._driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": self._headers})
        return self._driver

    def _close_page(self) -> None:
        """End the page's scripts and forget its cookies: the next page finds a browser that was nowhere."""
        if self._driver is not None:
            try:
                self._driver.get("about:blank")
                self._driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
            except (WebDriverException, OSError):
                self._forget_dead()

    def _forget_dead(self) -> None:
        """A browser that answers no more is started anew with the next page."""
        driver = self._driver
        if driver is None:
            return
        try:
            _ = driver.window_handles
        except (WebDriverException, OSError):
            self.close()


def _is_there(driver: webdriver.Chrome, wait_for: str, check: Callable[[str], object]) -> bool:
    check(driver.current_url)
    return bool(driver.find_elements(By.CSS_SELECTOR, wait_for))


def _kill_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
