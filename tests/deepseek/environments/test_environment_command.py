"""Environments by hand: shown, compared, and rebuilt from one index alone."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import zipfile
from functools import partial

import pytest

from deepseek.environments import rebuild
from deepseek.environments.command import manage_environment
from deepseek.environments.comparison import compare_environments
from deepseek.environments.inventory import collect_environment, compute_environment_digest
from deepseek.environments.rebuild import rebuild_environment
from deepseek.job import EngineError

LOGIN = b"__token__:secret"
PUMP = {"packages": {"pump": "1.0"}, "python": {"version": "3.11.1"}}


@pytest.fixture
def index(tmp_path):
    """A package index that has pump 1.0, for whoever brings its token."""
    page = tmp_path / "index" / "simple" / "pump"
    page.mkdir(parents=True)
    name = "pump-1.0-py3-none-any.whl"
    with zipfile.ZipFile(page / name, "w") as wheel:
        wheel.writestr("pump.py", "PRESSURE = 1\n")
        wheel.writestr("pump-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pump\nVersion: 1.0\n")
        wheel.writestr("pump-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("pump-1.0.dist-info/RECORD", "")
    (page / "index.html").write_text(f'<a href="{name}">{name}</a>')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

        def do_GET(self):
            if self.headers["Authorization"] == f"Basic {base64.b64encode(LOGIN).decode()}":
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=index")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "index")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def test_environment_of_this_machine_has_every_section():
    document = collect_environment([{"index": 0, "name": "H100", "driver": "570.1", "memory_bytes": 5}])
    assert list(document) == ["python", "packages", "system", "drivers", "firmware"]
    assert document["packages"]["pydantic"]
    assert document["drivers"]["gpu_0"] == "H100 570.1"
    assert compute_environment_digest(document) == compute_environment_digest(dict(reversed(document.items())))


def test_differences_are_told_by_section_and_gaps_are_no_differences():
    left = {"packages": {"a": "1", "b": "1", "c": "1"}, "system": {"kernel": "6.1"}, "firmware": {"board": ""}}
    right = {"packages": {"a": "1", "b": "2", "d": "1"}, "system": "garbage", "firmware": {"board": "X"}}
    comparison = compare_environments(left, right)
    rows = [(row.section, row.name, row.left, row.right, row.kind) for row in comparison.differences]
    assert rows == [
        ("packages", "b", "1", "2", "changed"),
        ("packages", "c", "1", "", "removed"),
        ("packages", "d", "", "1", "added"),
    ]
    assert (comparison.equal, comparison.unreported) == (1, ("system", "firmware"))
    partial_rows = compare_environments(left, right, partial=("packages",)).differences
    assert [row.name for row in partial_rows] == ["b"]


def test_diff_prints_and_answers_by_its_exit_code(tmp_path, capsys):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps(PUMP))
    two.write_text(json.dumps({**PUMP, "packages": {"pump": "2.0"}}))
    assert manage_environment(["diff", str(one), str(one)]) == 0
    assert manage_environment(["diff", str(one), str(two), "--json"]) == 1
    document = json.loads(capsys.readouterr().out.partition("equal\n")[2])
    assert document["differences"] == [{"section": "packages", "name": "pump", "left": "1.0", "right": "2.0"}]


def test_files_that_are_no_environment_are_refused(tmp_path):
    file = tmp_path / "file.json"
    codes = {"[1]": "environment_unreadable", "{": "environment_unreadable", '{"gpu-01": {}}': "environment_malformed"}
    for text, code in codes.items():
        file.write_text(text)
        with pytest.raises(EngineError) as caught:
            manage_environment(["diff", str(file), "here"])
        assert caught.value.code == code
    for packages in {}, {"../x": "1"}, {"--index-url": "1"}, {"pump": "1 --hash=x"}:
        with pytest.raises(EngineError) as caught:
            rebuild_environment({"packages": packages}, tmp_path / "new", "http://127.0.0.1/simple")
        assert caught.value.code == "environment_malformed"
    with pytest.raises(EngineError) as caught:
        rebuild_environment(PUMP, tmp_path / "new", "file:///simple")
    assert caught.value.code == "environment_index_invalid"
    with pytest.raises(EngineError) as caught:
        rebuild_environment(PUMP, tmp_path, "http://127.0.0.1/simple")
    assert caught.value.code == "environment_folder_exists"
    assert not (tmp_path / "new").exists()


def test_environment_is_rebuilt_from_the_index_alone(tmp_path, index, monkeypatch, capsys):
    """A hostile pip configuration adds no route; a package that the index lacks leaves no folder.

    The token of the index comes from ~/.netrc: in the address, it would show in a process list.
    """
    monkeypatch.setattr(rebuild, "NETRC", tmp_path / "netrc")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login __token__ password secret\n")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://192.0.2.1/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    file = tmp_path / "environments.json"
    file.write_text(json.dumps({"gpu-01": PUMP, "gpu-02": {"packages": {"pump": "1.0", "valve": "9"}}}))
    words = ["restore", str(file), "--index-url", index, "--into"]
    assert manage_environment([*words, str(tmp_path / "new"), "--node", "gpu-01"]) == 0
    assert "holds the environment" in capsys.readouterr().out
    assert list((tmp_path / "new").glob("lib/python*/site-packages/pump.py"))
    with pytest.raises(EngineError) as caught:
        manage_environment([*words, str(tmp_path / "other"), "--node", "gpu-02"])
    assert (caught.value.code, "valve" in caught.value.message) == ("environment_rebuild_failed", True)
    assert not (tmp_path / "other").exists()
