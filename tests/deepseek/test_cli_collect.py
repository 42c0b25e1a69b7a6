"""`deepseek collect` by hand: a spec in a file, and exit code 2 for what a person has to mend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site import serving

SPEC = {
    "allowed_hosts": ["127.0.0.1"],
    "pages": [{"items": "li", "fields": [{"name": "name"}]}],
    "rate": {"requests_per_second": 100, "autothrottle": False, "retries": 0},
}


@pytest.fixture
def collect(tmp_path):
    """collect(*words, hosts=...) -> the ended process; the words come after `deepseek collect --spec`."""
    script = Path(sys.executable).with_name("deepseek")
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))

    def call(*words, hosts="127.0.0.1"):
        command = [str(script), "collect", "--spec", "spec.json", *map(str, words)]
        env = {"COLLECT_HOSTS": hosts, "PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:9"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, timeout=120, check=False)

    return call


def test_records_are_written_and_told(collect, tmp_path):
    with serving() as site:
        site.page("/", "<li>A<li>B")
        ended = collect("--start-urls", f"{site.base}/", "-o", "out", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["summary"]["records"]) == (0, 2), ended.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "quality.json",
        "records.parquet",
        "report.json",
    ]


@pytest.mark.parametrize(
    ("hosts", "words", "told"),
    [
        ("", [], "Set COLLECT_HOSTS"),
        ("10.0.0.0/8", [], "field: /allowed_hosts/0"),
        ("127.0.0.1", ["--allowed-hosts", "http://x"], "is no host"),
        ("127.0.0.1", ["--robots-obey", "false"], "needs a reason"),
    ],
)
def test_what_a_person_has_to_mend_is_2(collect, tmp_path, hosts, words, told):
    ended = collect("--start-urls", "http://127.0.0.1:9/", "-o", "out", *words, hosts=hosts)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "out").exists()


def test_help_says_that_groups_come_as_json_or_in_a_file(collect):
    ended = collect("--help")
    assert "--start-urls A,B" in ended.stdout
    assert "--pages JSON|FILE" in ended.stdout
