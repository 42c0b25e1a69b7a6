"""controlplane/keepalive_worker.py overrides and reads undocumented parts of gunicorn: they are as it expects them."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import socket
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import FunctionType

import gunicorn
import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from controlplane import keepalive_worker
from controlplane.keepalive_worker import BoundedThreads, ClientConnection
from controlplane.slow_clients import ClientLimits, ClientSocket

ROOT = Path(__file__).parents[2]
READ_VERSION = "27.0.1"
"""The version of gunicorn that the digests were taken from."""

DIGESTS = {
    "arbiter:Arbiter.reap_workers": "ebcf4187e9eb",
    "http:get_parser": "b7d8dcde91e2",
    "http.parser:Parser.__init__": "604084ecb33b",
    "http.parser:Parser.__next__": "b8536520e958",
    "http.parser:Parser.finish_body": "54c5d0d28c26",
    "http.unreader:SocketUnreader.chunk": "9f62532259f8",
    "http.unreader:Unreader.read": "cbfeead6687f",
    "http.unreader:Unreader.take_buffered": "89cef5e60e6f",
    "http.unreader:Unreader.unread": "8e325744dfca",
    "http.wsgi:Response.sendfile": "417ea65fb9a1",
    "http.wsgi:create": "2c35d4a2dc62",
    "util:close_graceful": "0e5925bfc017",
    "util:write": "cd995031295f",
    "util:write_chunk": "9cd46540c593",
    "util:write_error": "bd0143a03c15",
    "util:write_nonblock": "d2ff97701c36",
    "workers.base:Worker.init_process": "114caccd7a0e",
    "workers.base:Worker.init_signals": "65442e0602b0",
    "workers.gthread:PollableMethodQueue.defer": "4d722900967b",
    "workers.gthread:PollableMethodQueue.run_callbacks": "2583376785b0",
    "workers.gthread:TConn.__init__": "c8763d7c6597",
    "workers.gthread:TConn.close": "6d1c334ed197",
    "workers.gthread:TConn.init": "5ff3d4ba451c",
    "workers.gthread:ThreadWorker.__init__": "5681b8b542ea",
    "workers.gthread:ThreadWorker._cap_keepalive": "745c8ac37108",
    "workers.gthread:ThreadWorker._keepalive_after": "4ebdbbc8bf5a",
    "workers.gthread:ThreadWorker.accept": "f8dcead3dce5",
    "workers.gthread:ThreadWorker.check_config": "677dafbcca4e",
    "workers.gthread:ThreadWorker.enqueue_req": "c9f428953d24",
    "workers.gthread:ThreadWorker.finish_request": "616e7bb15a00",
    "workers.gthread:ThreadWorker.get_thread_pool": "003f3549a71b",
    "workers.gthread:ThreadWorker.handle": "ca85c9be3df7",
    "workers.gthread:ThreadWorker.handle_exit": "b4e7decd4f92",
    "workers.gthread:ThreadWorker.handle_quit": "36bd35a8dae5",
    "workers.gthread:ThreadWorker.handle_request": "6d0de5b91910",
    "workers.gthread:ThreadWorker.init_process": "e4fc63a1a68e",
    "workers.gthread:ThreadWorker.murder_keepalived": "4459960c4ccc",
    "workers.gthread:ThreadWorker.murder_pending": "7bf11f464542",
    "workers.gthread:ThreadWorker.run": "f92c7394d857",
    "workers.gthread:ThreadWorker.set_accept_enabled": "140150ebfd3c",
    "workers.gthread:ThreadWorker.wait_for_and_dispatch_events": "ea969b352482",
}


def get_part(name: str) -> FunctionType | None:
    """The function `module:qualified.name` of gunicorn, or None if there is none."""
    module, _, path = name.partition(":")
    part = import_module(f"gunicorn.{module}")
    for attribute in path.split("."):
        part = getattr(part, attribute, None)
    return part


def compute_digest(part: FunctionType | None) -> str:
    return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12] if part else "missing"


def list_documented_names() -> set[str]:
    return set(re.findall(r"`([\w.]+)`", keepalive_worker.__doc__))


def list_self_attributes(source: str, context: type[ast.expr_context]) -> set[str]:
    """Names that are read from (ast.Load) or assigned to (ast.Store) `self` in this code."""
    nodes = [node for node in ast.walk(ast.parse(dedent(source))) if isinstance(node, ast.Attribute)]
    return {
        node.attr
        for node in nodes
        if isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, context)
    }


@pytest.mark.parametrize("name", DIGESTS)
def test_gunicorn_has_not_changed_a_part(name):
    assert compute_digest(get_part(name)) == DIGESTS[name], (
        f"gunicorn.{name} in gunicorn {gunicorn.__version__} differs from {READ_VERSION}. Compare the two, and read "
        "its row in the table at the top of controlplane/keepalive_worker.py: are BoundedThreads, ClientConnection"
        " and ClientSocket still right? Run test_slow_clients.py and test_keepalive_worker.py, measure with "
        "benchmarks/slow_clients.py, then note the new digest and version here."
    )


def test_the_digests_are_of_the_pinned_version():
    assert f"gunicorn=={READ_VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_exit_code_that_stops_the_arbiter_is_the_same():
    assert Arbiter.APP_LOAD_ERROR == 4


def test_a_connection_has_every_attribute_that_gthread_reads():
    read = set()
    for method in (ThreadWorker.enqueue_req, ThreadWorker.handle, ThreadWorker.handle_request):
        read |= set(re.findall(r"\bconn\.(\w+)", inspect.getsource(method)))
    read -= {"data_ready", "wait_for_data"}  # of connections that are not initialized
    accepted, client = socket.socketpair()
    with client, ClientSocket(accepted, ClientLimits(5, 5, 1, 8), set()) as sock:
        assert read - set(dir(ClientConnection(Config(), sock, "", "", None))) == set()


def test_the_table_lists_each_overridden_method():
    assert set(vars(BoundedThreads)) & set(vars(ThreadWorker)) - {"__module__", "__doc__"} <= list_documented_names()


def test_the_table_lists_each_attribute_that_is_read():
    source = inspect.getsource(BoundedThreads)
    own = set(vars(BoundedThreads)) | list_self_attributes(inspect.getsource(BoundedThreads.__init__), ast.Store)
    assert list_self_attributes(source, ast.expr_context) - own <= list_documented_names()


def test_no_other_module_imports_gunicorn():
    found = {
        str(path.relative_to(ROOT))
        for folder in ("controlplane", "workers", "apps")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(?:import|from) gunicorn\b", path.read_text(), re.MULTILINE)
    }
    assert found == {"controlplane/keepalive_worker.py"}
