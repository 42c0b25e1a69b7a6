"""Advisories of the OSV schema, and which versions they are about."""

from __future__ import annotations

import json
import zipfile

import pytest
from django.core.management import CommandError, call_command
from packaging.version import Version

from apps.core.errors import Invalid
from apps.site.mirror import services
from apps.site.mirror.advisory_matching import is_affected
from apps.site.mirror.models import Advisory, AdvisoryFeed, Package, PackageVersion
from tests.package_files import build_wheel


def build_advisory(name="acme", number="PYSEC-1", **more):
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.5"}]}]
    package = {"ecosystem": "PyPI", "name": name}
    return {
        "id": number,
        "modified": "2026-10-01T00:00:00Z",
        "summary": "reads beyond its end",
        "aliases": ["CVE-2026-1"],
        "affected": [{"package": package, "ranges": ranges, "versions": ["1.9"]}],
        **more,
    }


@pytest.fixture
def versions(publish, tmp_path):
    for number in ("1.0", "1.5", "1.9"):
        build_wheel(tmp_path, "acme", number)
    publish(tmp_path)


@pytest.fixture
def take(db, operator, tmp_path):
    def write(document):
        path = tmp_path / "feed.json"
        path.write_text(json.dumps(document))
        return services.import_advisories(actor=operator, path=path)

    return write


def test_versions_are_marked(versions, take):
    feed = take([build_advisory(), build_advisory("Acme", "PYSEC-2", withdrawn="2026-10-02T00:00:00Z")])
    assert (feed.advisories, f"{feed.dated_at:%Y-%m-%d}") == (1, "2026-10-01")
    marked = dict(PackageVersion.objects.values_list("version", "advisory_ids"))
    assert marked == {"1.0": ["PYSEC-1"], "1.5": [], "1.9": ["PYSEC-1"]}
    assert Package.objects.get().advisory_count == 1


def test_the_next_feed_takes_its_place(versions, take):
    take([build_advisory()])
    take([build_advisory("other", "PYSEC-3")])
    assert (AdvisoryFeed.objects.count(), list(Advisory.objects.values_list("package_name", flat=True))) == (
        1,
        ["other"],
    )
    assert Package.objects.get().advisory_count == 0


def test_a_version_that_comes_later_is_marked(take, publish, tmp_path):
    take([build_advisory()])
    build_wheel(tmp_path, "acme", "1.2")
    publish(tmp_path)
    assert PackageVersion.objects.get().advisory_ids == ["PYSEC-1"]


def test_a_zip_of_records(versions, operator, tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PYSEC-1.json", json.dumps(build_advisory()))
    assert services.import_advisories(actor=operator, path=path).advisories == 1


def test_ranges():
    events = [{"introduced": "1.0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"last_affected": "2.3"}]
    cells = {"0.9": 0, "1.0": 1, "1.1.post1": 1, "1.2": 0, "1.9": 0, "2.0": 1, "2.3": 1, "2.3.1": 0}
    found = {text: int(is_affected({"versions": [], "ranges": [events]}, Version(text))) for text in cells}
    assert found == cells


@pytest.mark.parametrize("document", ["words", [1], [{"id": "X", "affected": 3}], [{"affected": [{"package": 1}]}]])
def test_what_is_no_feed(take, document):
    with pytest.raises(Invalid) as refusal:
        take(document)
    assert refusal.value.code == "advisory_feed_invalid"


def test_the_command(versions, tmp_path, capsys):
    path = tmp_path / "feed.json"
    path.write_text(json.dumps(build_advisory()))
    call_command("import_advisories", path)
    assert "1 advisories as of 2026-10-01." in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("import_advisories", tmp_path / "absent.json")
