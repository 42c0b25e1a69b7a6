"""The engine of a script, alone: its environment, its end, its outputs and its checkpoints."""

from __future__ import annotations

import json
import sys

import pytest

from deepseek.job import EngineError, Silent
from deepseek.script import run as script
from deepseek.script.archive import pack_folder
from deepseek.script.image import ScriptImage
from deepseek.script.spec import ScriptSpec


class Recorder(Silent):
    def __init__(self):
        self.checkpoints = []

    def checkpoint(self, path, step):
        self.checkpoints.append((path.stat().st_size > 0, step))


@pytest.fixture
def run(tmp_path):
    """run(code, **fields of the spec) -> the result, and the folder of the outputs."""

    def run_code(code: str, *, inputs=None, report=None, arguments=(), **fields):
        folder = tmp_path / "code"
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(code)
        spec = ScriptSpec(command=("python", "train.py", *arguments), **fields)
        given = {"code": folder, **(inputs or {})}
        return script.run(spec, inputs=given, out=tmp_path / "out", report=report or Silent())

    return run_code


def test_files_below_out_become_outputs(run, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "of the worker")
    (tmp_path / "data/prices").mkdir(parents=True)
    (tmp_path / "data/prices/table.csv").write_text("day\n1\n")
    code = """
import json, os, sys, pathlib
out = pathlib.Path(os.environ["OUT"])
(out / "plots").mkdir()
(out / "plots/loss.png").write_bytes(b"png")
(out / "rows.csv").write_text("a,b\\n1,2\\n3,4\\n")
data = [str(path.relative_to(os.environ["DATA"])) for path in pathlib.Path(os.environ["DATA"]).rglob("*.csv")]
(out / "seen.json").write_text(json.dumps([sys.argv[1:], data, sorted(os.environ)]))
"""
    result = run(code, inputs={"data": tmp_path / "data"}, arguments=("--lr", "0.1"), outputs=("rows.csv",))
    assert [(output.slot, output.media_type) for output in result.outputs] == [
        ("plots/loss.png", "image/png"),
        ("rows.csv", "text/csv"),
        ("seen.json", "application/json"),
    ]
    assert (result.outputs[1].meta["rows"], len(result.outputs[1].meta["columns"])) == (2, 2)
    arguments, data, variables = json.loads((tmp_path / "out/seen.json").read_text())
    assert (arguments, data) == (["--lr", "0.1"], ["prices/table.csv"])
    assert "DATABASE_URL" not in variables
    assert {"DATA", "OUT", "CHECKPOINT"} <= set(variables)


def test_failures_name_what_is_wrong(run, tmp_path):
    write = """
import os
os.mkdir(os.environ["OUT"] + "/folder")
for name in ("model.pt", "folder/" + "x" * 250):
    open(os.environ["OUT"] + "/" + name, "w")
"""
    cases = {
        "raise SystemExit(3)": "script_failed",
        "pass": "output_missing",
        "import os; os.symlink('/etc/passwd', os.environ['OUT'] + '/model.pt')": "bad_output",
        write: "bad_output",
    }
    wrong = {}
    for code, expected in cases.items():
        with pytest.raises(EngineError) as failure:
            run(code, outputs=("model.pt",))
        if failure.value.code != expected or not failure.value.hint or (tmp_path / "out").exists():
            wrong[code] = failure.value.as_dict()
    assert wrong == {}


def test_command_that_is_not_there_is_named(tmp_path):
    (tmp_path / "code").mkdir()
    with pytest.raises(EngineError) as failure:
        script.run(
            ScriptSpec(command=("no-such-program",)),
            inputs={"code": tmp_path / "code"},
            out=tmp_path / "out",
            report=Silent(),
        )
    assert (failure.value.code, failure.value.value) == ("command_not_found", "no-such-program")


def test_script_that_a_signal_ends_is_tried_again(run):
    with pytest.raises(RuntimeError, match="SIGKILL"):
        run("import os; os.kill(os.getpid(), 9)")


def test_checkpoint_is_kept_and_given_back(run, tmp_path):
    report = Recorder()
    with pytest.raises(EngineError):
        run(
            "import os; open(os.environ['CHECKPOINT'] + '/step', 'w').write('7'); raise SystemExit(1)",
            report=report,
        )
    assert report.checkpoints == [(True, report.checkpoints[0][1])]
    pack_folder(tmp_path / "checkpoints", tmp_path / "kept")
    code = "import os, shutil; shutil.copy(os.environ['CHECKPOINT'] + '/step', os.environ['OUT'])"
    result = run(code, inputs={"checkpoint": tmp_path / "kept"})
    assert [output.slot for output in result.outputs] == ["step"]


def test_several_processes_are_started_by_torchrun(monkeypatch, tmp_path):
    logs = tmp_path / "logs"
    command = script.build_command(ScriptSpec(command=("python", "train.py", "-x"), processes=2), logs)
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    flags = ["--nproc-per-node=2", "--max-restarts=0", "--redirects=3", f"--log-dir={logs}"]
    assert command[-6:] == [*flags, "train.py", "-x"]
    monkeypatch.setenv("SCRIPT_INTERPRETER", "/opt/venv/bin/python")
    assert script.build_command(ScriptSpec(command=("python", "a.py")), logs) == ["/opt/venv/bin/python", "a.py"]
    assert script.build_command(ScriptSpec(command=("./run", "a")), logs) == ["./run", "a"]
    image = ScriptImage({}, tmp_path)
    assert script.build_command(ScriptSpec(command=("python", "a.py")), logs, image) == ["python", "a.py"]
    command = script.build_command(ScriptSpec(command=("python", "a.py"), processes=2), logs, image)
    assert (command[:3], "--log-dir=/job/logs" in command) == (["python", "-m", "torch.distributed.run"], True)


def test_variables_of_an_image_come_before_those_of_the_job(monkeypatch, tmp_path):
    monkeypatch.setenv("LANG", "C.UTF-8")
    image = ScriptImage({"PATH": "/opt/bin", "LANG": "de", "OUT": "/x", "MODEL": "m"}, tmp_path)
    data, out, checkpoint = (tmp_path / name for name in ("inputs/data", "out", "checkpoints"))
    built = script.build_environment(data=data, out=out, checkpoint=checkpoint, scratch=tmp_path, image=image)
    expected = {"PATH": "/opt/bin", "LANG": "C.UTF-8", "MODEL": "m", "DATA": "/job/inputs/data", "OUT": "/job/out"}
    assert {name: built[name] for name in expected} == expected
    assert (built["CHECKPOINT"], built["HOME"]) == ("/job/checkpoints", "/job/tmp")
