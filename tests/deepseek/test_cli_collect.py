"""`deepseek collect` by hand: a spec in a file, and exit code 2 for what a person has to mend."""

import json
import os

import pytest

from tests.site import serving

SPEC = {
    "allowed_hosts": ["127.0.0.1"],
    "pages": [{"items": "li", "fields": [{"name": "name"}]}],
    "rate": {"requests_per_second": 100, "autothrottle": False, "retries": 0},
}


ENVIRONMENT = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def spec_file(tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))


def test_records_are_written_and_counted_by_a_process(deepseek_script, tmp_path):
    with serving() as site:
        site.page("/", "<li>A<li>B")
        words = ["--spec", "spec.json", "--start-urls", f"{site.base}/", "-o", "out", "--json"]
        ended = deepseek_script("collect", *words, env=ENVIRONMENT | {"COLLECT_HOSTS": "127.0.0.1"})
    assert (ended.returncode, json.loads(ended.stdout)["summary"]["records"]) == (0, 2), ended.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "quality.json",
        "records.parquet",
        "report.json",
    ]


@pytest.mark.parametrize(
    ("hosts", "words", "part"),
    [
        ("", [], "Set COLLECT_HOSTS"),
        ("10.0.0.0/8", [], "field: /allowed_hosts/0"),
        ("127.0.0.1", ["--allowed-hosts", "http://x"], "is no host"),
        ("127.0.0.1", ["--robots-obey", "false"], "needs a reason"),
    ],
)
def test_what_a_person_has_to_correct_is_exit_code_2(deepseek, tmp_path, hosts, words, part):
    given = ["--spec", "spec.json", "--start-urls", "http://127.0.0.1:9/", "-o", "out", *words]
    ended = deepseek("collect", *given, env=ENVIRONMENT | {"COLLECT_HOSTS": hosts})
    assert (ended.returncode, part in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "out").exists()


def test_help_names_groups_as_json_or_a_file(deepseek):
    ended = deepseek("collect", "--help")
    assert "--start-urls A,B" in ended.stdout
    assert "--pages JSON|FILE" in ended.stdout
