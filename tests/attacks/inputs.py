"""Small inputs that once cost minutes or gigabytes: H1, H2, H3, L3, L4, L5."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import httpx

from tests.attacks.target import MLFLOW, PROJECT, Outcome, Target

PATIENT = 5.0  # seconds that an answer to one hostile request may take on a busy machine
HEALTHY = 1.0  # seconds within which /healthz answers meanwhile

SEARCHES = ("runs", "experiments", "logged-models", "registered-models", "model-versions")


def send_long_numbers_to_filters(target: Target) -> Outcome:
    """H1: 20 kB of digits in `filter` and `order_by` of MLflow's searches."""
    digits = "1" * 20_000 + "x"
    token = {"Authorization": f"Bearer {target.token('read')}"}
    slowest, answers = 0.0, set()
    with target.health() as clock:
        for search in SEARCHES:
            for body in ({"filter": f"metrics.a > {digits}"}, {"order_by": [f"metrics.a {digits}"]}):
                ids = {"experiment_ids": ["0"]} if search in ("runs", "logged-models") else {}
                began = time.monotonic()
                url = f"{target.address}{MLFLOW}/{search}/search"
                if search in ("registered-models", "model-versions"):
                    answer = httpx.get(url, params=body, headers=token, timeout=150)
                else:
                    answer = httpx.post(url, json={**ids, **body}, headers=token, timeout=150)
                slowest = max(slowest, time.monotonic() - began)
                answers.add(answer.status_code)
    good = slowest < PATIENT and clock.slowest < HEALTHY and max(answers) < 500
    return Outcome(good, f"slowest answer {slowest:.2f} s, /healthz at most {clock.slowest:.2f} s, {sorted(answers)}")


def upload_long_number_cells(target: Target) -> Outcome:
    """H2: one CSV cell of 131,000 digits."""
    body = b"a,b\n" + b"1" * 131_000 + b"y,1\n"
    target.upload_table("short-cells", b"a,b\n1,1\n", "text/csv")  # the token is made before the clock runs
    with target.health() as clock:
        began = time.monotonic()
        try:
            status = str(target.upload_table("long-cells", body, "text/csv").status_code)
        except httpx.HTTPError as failure:
            status = type(failure).__name__
        seconds = time.monotonic() - began
    good = seconds < PATIENT and clock.slowest < HEALTHY and status.isdigit() and int(status) < 500
    return Outcome(good, f"{status} after {seconds:.2f} s, /healthz at most {clock.slowest:.2f} s")


def post_line_feeds_to_form(target: Target) -> Outcome:
    """H3: a form field of 80,000 line feeds."""
    browser = target.session("engineer")
    with target.health() as clock:
        began = time.monotonic()
        answer = target.post_form(browser, "/p/demo/jobs/new/clean", **{"/columns": "\n" * 80_000})
        seconds = time.monotonic() - began
    good = seconds < PATIENT and clock.slowest < HEALTHY and answer.status_code < 500
    return Outcome(good, f"{answer.status_code} after {seconds:.2f} s, /healthz at most {clock.slowest:.2f} s")


def nest_json_lines(target: Target) -> Outcome:
    """L5: JSON lines that are 50,000 deep."""
    line = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    return describe_refusal(target, "nested", line, "application/x-ndjson")


def describe_refusal(target: Target, name: str, body: bytes, media_type: str, *, seconds: float = 120) -> Outcome:
    """Upload a table; repelled if it is refused by name, by the answer or by the job that reads it, at once."""
    answer = target.upload_table(name, body, media_type)
    if answer.status_code != 202:
        code = answer.json().get("error", {}).get("code")
        return Outcome(400 <= answer.status_code < 500, f"{answer.status_code} {code}")
    job = target.plane().wait(answer.json()["id"], seconds=seconds)
    code = (job["error"] or {}).get("code")
    crashed = code in ("engine_crashed", "engine_killed", "out_of_memory", "worker_fault")
    named = job["state"] == "failed" and not crashed and str(job["attempt"]).startswith("1")
    return Outcome(named, f"job {job['state']}, attempt {job['attempt']}, {code}")


def log_misleading_artifact_paths(target: Target) -> Outcome:
    """L3: MLflow artifact paths with backslashes, line feeds, and characters that turn the direction of text."""
    scopes = "read,runs:write"
    made = target.send("POST", f"{MLFLOW}/runs/create", scopes=scopes, json={"experiment_id": "0"})
    run = made.json()["run"]["info"]
    root = "/api/2.0/mlflow-artifacts/artifacts"
    base = run["artifact_uri"].partition("mlflow-artifacts:")[2].lstrip("/")
    stored = []
    for name in ("..%5C..%5Cx", "a%0Ab", "a%E2%80%AEtxt.exe", "a%E2%81%A6b", "CON"):
        answer = target.send("PUT", f"{root}/{base}/{name}", scopes=scopes, content=b"x")
        if answer.status_code < 400:
            stored.append(name)
    return Outcome(not stored, f"stored: {', '.join(stored) or 'none'}")


def push_blob_bomb(target: Target) -> Outcome:
    """L4: 600 MB of zeros in a push of half a megabyte."""
    before = size_of(target.home)
    token = target.token("read,data:write")
    work = target.home.parent / "bomb"
    status = push(target, work, token, {"zeros.bin": 600_000_000})
    grown = size_of(target.home) - before
    return Outcome(
        status != 0 and grown < 200_000_000, f"git push ended with {status}; the home grew by {grown:,} bytes"
    )


def push_foreign_lfsconfig(target: Target) -> Outcome:
    """L10: a .lfsconfig that sends everybody's uploads to another host."""
    work = target.home.parent / "lfsconfig"
    text = "[lfs]\n\turl = https://elsewhere.example/lfs\n"
    status = push(target, work, target.token("read,data:write"), {".lfsconfig": text})
    return Outcome(status != 0, f"git push ended with {status}")


def push(target: Target, work: Path, token: str, files: dict[str, int | str]) -> int:
    """Push a commit with these files (a number: so many zero bytes) to a dataset's repository; git's status."""
    uploaded = target.upload_table(work.name, b"a,b\n1,2\n", "text/csv")
    url = target.send("GET", f"{PROJECT}/datasets/{work.name}", scopes="read").json().get("clone_url", "")
    if not url:
        raise RuntimeError(f"no clone_url: {uploaded.text}")
    url = url.replace("://", f"://engineer:{token}@", 1)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "http.postBuffer=1000000000"]
    quiet = {"capture_output": True, "timeout": 300, "check": False}
    subprocess.run([*git, "clone", "--quiet", url, str(work)], **quiet)
    for name, content in files.items():
        path = work / name
        if isinstance(content, int):
            with path.open("wb") as out:
                out.truncate(content)
        else:
            path.write_text(content)
    subprocess.run([*git, "-C", str(work), "add", "--all"], **quiet)
    subprocess.run([*git, "-C", str(work), "commit", "--quiet", "-m", "more"], **quiet)
    return subprocess.run([*git, "-C", str(work), "push", "--quiet", "origin", "HEAD"], **quiet).returncode


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def send_foreign_host(target: Target) -> Outcome:
    """L6: a wrong Host header, which cost two tracebacks in the log of the web process."""
    log = target.home / "logs" / "web.log"
    before = log.stat().st_size
    status = httpx.get(f"{target.address}/", headers={"Host": "elsewhere.example"}, timeout=20).status_code
    with log.open("rb") as lines:
        lines.seek(before)
        written = lines.read()
    good = status == 400 and b"Traceback" not in written and written.count(b"\n") <= 1
    return Outcome(good, f"{status}, {written.count(chr(10).encode())} lines logged")


def send_bodies_without_right(target: Target) -> Outcome:
    """L8: a body or media type is judged before the token."""
    wrong = {}
    calls = (
        ("POST", f"{PROJECT}/artifacts", {"content": b"{}", "headers": {"Content-Type": "multipart/form-data"}}),
        ("DELETE", f"{PROJECT}/datasets/none/versions/1", {"content": b"{"}),
        (
            "POST",
            f"{PROJECT}/datasets/none/versions/2/diff/1",
            {"content": b"{", "headers": {"Content-Type": "text/csv"}},
        ),
    )
    for method, path, body in calls:
        status = httpx.request(method, f"{target.address}{path}", timeout=20, **body).status_code
        if status != 401:
            wrong[f"{method} {path}"] = status
    return Outcome(not wrong, json.dumps(wrong) if wrong else "401 before anything else")
