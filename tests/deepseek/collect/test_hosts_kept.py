"""A collection is kept on its hosts: nothing is opened to any other, whatever a page or a name server says."""

import socket
import subprocess
import sys

import pytest

from deepseek.collect.gate import Gate, Refused
from deepseek.job import EngineError
from tests.site import HAS_BROWSER, NO_BROWSER

LI = "<li><a href='{0}'>{1}</a></li>"


def test_links_and_redirects_to_a_foreign_host_open_nothing(site, canary, collect):
    site.page("/", LI.format(f"{canary.base}/x", "foreign") + LI.format("/away", "away") + LI.format("/meta", "meta"))
    site.redirect("/away", f"{canary.base}/y")
    site.page("/meta", f"<meta http-equiv=refresh content='0; url={canary.base}/z'>")
    rows, told, _ = collect(follow={"links": "li"})
    assert [row["name"] for row in rows] == ["foreign", "away", "meta"]
    assert told["links_off_list"] == {f"127.0.0.2:{canary.port}": 1}
    assert told["refused"] == [{"code": "host", "what": f"127.0.0.2:{canary.port}", "count": 2}]


def test_robots_txt_that_leads_away_opens_nothing(site, canary, collect):
    site.redirect("/robots.txt", f"{canary.base}/robots.txt")
    site.page("/", LI.format("#", "A"))
    assert len(collect()[0]) == 1


@pytest.mark.e2e  # a browser
@pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)
def test_a_page_of_scripts_is_rendered_and_reaches_no_foreign_host(site, canary, collect):
    far = canary.base
    site.page(
        "/",
        f"""<div id=x></div><img src='{far}/i.png'><iframe src='{far}/f'></iframe><link rel=preconnect href='{far}'>
        <script>
        fetch('{far}/y').catch(() => 0); new WebSocket('{far.replace("http", "ws")}/w');
        const peer = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.2:{canary.port}'}}]}});
        peer.createDataChannel('x'); peer.createOffer().then(o => peer.setLocalDescription(o));
        setTimeout(() => {{document.getElementById('x').innerHTML = "<ul><li><a>late</a><b>3</b></li></ul>"}}, 200)
        </script>""",
    )
    page = {"render": "browser", "wait_for": "#x li", "items": "li", "fields": [{"name": "name", "select": "a"}]}
    rows, told, _ = collect(pages=[page])
    assert [(row["name"], row["status"]) for row in rows] == [("late", 200)]
    assert {row["what"] for row in told["refused"]} == {f"127.0.0.2:{canary.port}"}


@pytest.mark.e2e  # a browser
@pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)
def test_a_page_of_scripts_that_leads_away_is_refused(site, canary, collect):
    site.page("/", LI.format("/s", "A"))
    site.page("/s", f"<script>location = '{canary.base}/y'</script>")
    browser = {"match": "*/s", "render": "browser", "wait_for": "li", "fields": [{"name": "name", "select": "a"}]}
    plain = {"items": "li", "fields": [{"name": "name", "select": "a"}]}
    rows, told, _ = collect(pages=[browser, plain], follow={"links": "li"}, limits={"page_seconds": 8.0})
    assert [row["name"] for row in rows] == ["A"]
    assert (told["pages"]["fetched"], told["errors"][0]["kind"]) == (1, "refused")


@pytest.mark.parametrize(
    ("listed", "wanted", "code"),
    [
        ("", "127.0.0.1", "collection_off"),
        ("127.0.0.2, *.bank.example", "127.0.0.1", "host_not_allowed"),
        ("http://x", "127.0.0.1", "bad_host_list"),
    ],
)
def test_the_operators_list_comes_first(collect, monkeypatch, site, listed, wanted, code):
    monkeypatch.setenv("COLLECT_HOSTS", listed)
    with pytest.raises(EngineError) as failure:
        collect(allowed_hosts=[wanted])
    assert failure.value.code == code
    assert "COLLECT_HOSTS" in str(failure.value.hint or failure.value.message)
    assert not site.asked


def answering(monkeypatch, *addresses):
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)


def test_a_name_that_stands_for_another_address_is_refused(monkeypatch):
    gate = Gate(["wiki.bank.example"], ["wiki.bank.example", "10.1.0.0/16"])
    answering(monkeypatch, "10.1.2.3", "10.2.0.1", "127.0.0.1")
    assert gate.resolve("wiki.bank.example", 80) == ["10.1.2.3"]
    gate = Gate(["wiki.bank.example"], ["wiki.bank.example"])
    answering(monkeypatch, "169.254.169.254", "127.0.0.1", "8.8.8.8")
    with pytest.raises(Refused, match="outside the allowed networks"):
        gate.resolve("wiki.bank.example", 80)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http://", "x"])
def test_other_schemes_and_secrets_in_addresses_are_refused(url):
    with pytest.raises(Refused):
        Gate(["127.0.0.1"], ["127.0.0.1"]).check(url)


def test_a_port_on_the_list_binds():
    gate = Gate(["127.0.0.1"], ["127.0.0.1:8080"])
    assert gate.check("http://127.0.0.1:8080/x") == ("127.0.0.1", 8080)
    with pytest.raises(Refused):
        gate.check("http://127.0.0.1/x")


def test_the_whole_process_is_closed(canary):
    code = f"""
import socket
from deepseek.collect.gate import Gate
gate = Gate(["127.0.0.1"], ["127.0.0.1"]); gate.close_process()
for what in (lambda: socket.create_connection(("127.0.0.2", {canary.port})),
             lambda: socket.socket().connect_ex(("127.0.0.2", {canary.port})),
             lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.2", {canary.port})),
             lambda: socket.getaddrinfo("elsewhere.example", 80)):
    try:
        what()
    except OSError as error:
        print(type(error).__name__)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["Refused"] * 4
