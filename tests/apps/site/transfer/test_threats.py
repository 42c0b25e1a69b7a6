"""The table of threats in docs/transfer.md names the test of each, and each of these tests is there."""

import re

from controlplane.env import BASE_DIR

FOLDERS = ("tests/apps/site/transfer", "tests/deepseek/bundles")
NAMED = re.compile(r"`([\w/]*\.py)?(?:::(\w+))?`")


def list_threats():
    """(threat, the tests it names as (file, function)) of each row."""
    text = (BASE_DIR / "docs/transfer.md").read_text()
    table = text.split("## Threats", 1)[1].split("\n## ", 1)[0]
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith("| threat"):
            threat, *_, tests = line.strip("| ").rsplit(" | ", 2)
            yield threat, list(list_tests(tests))


def list_tests(cell):
    file = ""
    for match in NAMED.finditer(cell):
        file = match[1] or file
        yield file, match[2]


def find_file(name):
    places = [BASE_DIR / name] if "/" in name else [BASE_DIR / folder / name for folder in FOLDERS]
    return next((place for place in places if place.is_file()), None)


def test_each_threat_names_tests_that_are_there():
    threats, wrong = list(list_threats()), []
    for threat, tests in threats:
        if not tests:
            wrong.append((threat, "no test"))
        for name, function in tests:
            file = find_file(name)
            if file is None or not function or f"\ndef {function}(" not in file.read_text():
                wrong.append((threat, name, function))
    assert wrong == []
    assert len(threats) > 25
