"""`deepseek run`: what it sends, what it refuses before it sends anything, and how it ends."""

from __future__ import annotations

import json
import zipfile

import pytest

from deepseek.client.run_command import build_run, build_run_parser, split_words

DIGEST = "a" * 64


@pytest.fixture
def script(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('hello')\n")
    return tmp_path / "code/train.py"


def build_body(*words: object) -> dict:
    own, rest = split_words([str(word) for word in words])
    run = build_run(build_run_parser().parse_args(own), rest)
    run.scan()
    return run.build_body(DIGEST)


def test_body_of_the_job(script):
    words = ["--data", "wti:v1", "--data", "prices:2", "--nodes", 2, "--processes", 4, "--gpus", 0, "--cpus", 8]
    words += ["--memory", "2G", "--name", "try-1", "--output", "model.pt", "--environment", "torch"]
    words += ["--experiment", "lr", "--register-dataset", "wti", "--table", "a.csv", "--", "--lr", "0.1", "--", "x"]
    assert build_body(script, *words) == {
        "kind": "script",
        "name": "try-1",
        "spec": {
            "command": ["python", "train.py", "--lr", "0.1", "--", "x"],
            "processes": 4,
            "data": ["wti:v1", "prices:v2"],
            "outputs": ["model.pt"],
            "environment": "torch",
            "table": "a.csv",
        },
        "inputs": {"code": {"digest": DIGEST}},
        "register": {"experiment": "lr", "dataset": "wti"},
        "needs": {"gpus": 0, "cpus": 8, "memory_bytes": 2 << 30, "nodes": 2},
    }


def test_body_with_nothing_but_a_script(script):
    body = build_body(script)
    assert (body["name"], body["spec"]["command"]) == ("train", ["python", "train.py"])
    assert "needs" not in body
    assert "register" not in body


def test_wider_folder(script):
    assert build_body(script, "--folder", script.parents[1])["spec"]["command"] == ["python", "code/train.py"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["code/absent.py"], ["There is no script code/absent.py", "field: SCRIPT"]),
        (["code"], ["There is no script code"]),
        (["code/notes.txt"], ["neither a Python nor a shell script", "limit: .py, .sh"]),
        (["code/run.sh", "--processes", "2"], ["need a Python script", "field: --processes", "value: 2"]),
        (["code/train.py", "--data", "wti"], ["'wti' does not name a version", "field: --data"]),
        (["code/train.py", "--folder", "code/sub"], ["does not lie in the code folder", "field: --folder"]),
        (["code/ignored.py"], ["left out of the code by a rule", "field: SCRIPT"]),
        (["code/train.py", "--lr", "1"], ["unrecognized arguments: --lr 1", "goes behind --"]),
        (["code/train.py", "--nodes", "0"], ["'0' is not a whole number from 1 to"]),
        (["code/train.py", "--memory", "much"], ["'much' is not a size"]),
        ([], ["required: SCRIPT"]),
    ],
)
def test_bad_words_are_refused_before_a_plane_is_asked(deepseek, script, words, parts):
    for name in ("notes.txt", "run.sh", "ignored.py", "sub/x"):
        (script.parent / name).parent.mkdir(exist_ok=True)
        (script.parent / name).touch()
    (script.parent / ".deepseekignore").write_text("ignored.py\n")
    run = deepseek("run", *words, env={"DEEPSEEK_URL": "http://127.0.0.1:9", "DEEPSEEK_TOKEN": "dso_x"})
    assert run.returncode == 2
    for part in parts:
        assert part in run.stderr


@pytest.mark.django_db(transaction=True)
def test_unknown_dataset_version_is_refused_before_code_is_sent(cli, script, say_end, project):
    from apps.platform.artifacts.models import Holding

    run = cli("run", script, "--data", "wti:v1")
    say_end(run, 2, "There is no wti:v1 in the project demo", "field: --data", "hint:")
    assert not Holding.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_code_is_sent_once(plane, script, tmp_path):
    from deepseek.client.scripts import ScriptRun

    digests = {plane.upload_code(ScriptRun(script=script).scan()) for _ in range(2)}
    [row] = plane.iterate("/artifacts")
    assert digests == {row["digest"]}
    assert row["media_type"] == "application/zip"
    plane.transport.call("GET", "/api/v1/me")
    with plane.transport.stream(f"/api/v1/projects/demo/artifacts/{row['digest']}") as answer:
        (tmp_path / "back.zip").write_bytes(answer.read())
    assert zipfile.ZipFile(tmp_path / "back.zip").read("train.py") == script.read_bytes()


# -- following, against a stand-in ----------------------------------------------------------------------------------
def build_plane(ends: list[tuple[str, dict | None]], lines: list[str]):
    """A plane that takes a script job, tells these lines and ends in the first of these states."""

    def handler(request) -> None:
        path = request.path.partition("?")[0].removeprefix("/api/v1/projects/demo")
        state, error = ends[0]
        job = {"id": 7, "kind": "script", "name": "train", "outputs": [], "result": {}, "wait": {"summary": "Starts."}}
        if path == "/api/v1/me":
            return reply(request, {"label": "x", "projects": {"demo": []}})
        if path.endswith("/info"):
            return reply(request, {"error": {"code": "not_found", "message": "no"}}, 404)
        if path == "/jobs":
            request.server.submitted = json.loads(request.body)
            return reply(request, {**job, "state": "queued", "error": None}, 201)
        if path == "/jobs/7/events":
            rows = [["", "info", line] for line in lines]
            events = [("log", {"first": 1, "lines": rows}), ("end", {"state": state})]
            text = "".join(
                f"id: {n}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for n, (name, data) in enumerate(events, 1)
            )
            return request.answer(200, text.encode())
        return reply(request, {**job, "state": state, "error": error})

    return handler


def reply(request, document: dict, status: int = 200) -> None:
    request.answer(status, json.dumps(document).encode(), Content_Type="application/json")


FAILED = {"code": "script_failed", "message": "It ended with exit code 3.", "params": {"code": 3}}


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        ("succeeded", None, 0),
        ("failed", FAILED, 3),
        ("failed", {"code": "x", "message": "y"}, 1),
        ("cancelled", None, 130),
    ],
)
def test_exit_code_is_the_jobs(deepseek, serve, script, state, error, code):
    lines = ["one", "x" * 200, "", "[bold]three[/bold]"]
    server = serve(build_plane([(state, error)], lines))
    run = deepseek("run", script, "--", "--lr", "0.1", env={"DEEPSEEK_URL": server.url, "DEEPSEEK_TOKEN": "dso_x"})
    assert (run.returncode, run.stdout.split("\n")) == (code, [*lines, ""])
    assert f"job 7: {server.url}/p/demo/jobs/7" in run.stderr
    assert server.submitted["spec"]["command"] == ["python", "train.py", "--lr", "0.1"]
    [post] = [headers for method, path, headers in server.requests if method == "POST"]
    assert post["Idempotency-Key"]


def test_detached_it_prints_the_number(deepseek, serve, script):
    server = serve(build_plane([("running", None)], []))
    run = deepseek("run", script, "--detach", env={"DEEPSEEK_URL": server.url, "DEEPSEEK_TOKEN": "dso_x"})
    assert (run.returncode, run.stdout) == (0, "7\n")
