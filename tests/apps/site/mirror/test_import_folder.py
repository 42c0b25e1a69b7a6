"""A folder of wheels into the index: whole, or not at all (test_bad_packages.py)."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from apps.core.errors import Refused
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact
from apps.site.mirror import services
from apps.site.mirror.environments import build_environments
from apps.site.mirror.models import Package, PackageFile
from tests.package_files import build_wheel, write_sums


@pytest.fixture
def folder(tmp_path):
    """app needs lib, whose newest version it does not take, and of an extra what is not there."""
    build_wheel(tmp_path, "app", "2.0", ["lib[fast]<2", "absent; python_version < '3'", "gone; extra == 'test'"])
    build_wheel(tmp_path, "lib", "1.5", ["turbo>=1; extra == 'fast'"])
    build_wheel(tmp_path, "lib", "2.0")
    build_wheel(tmp_path, "turbo", "1.0")
    (tmp_path / "constraints.txt").write_text("app==2.0\n")
    return tmp_path


def test_all_of_it_comes_for_the_plane(publish, folder, operator):
    report = publish(folder)
    assert (len(report.added), report.ignored) == (4, ["constraints.txt"])
    packages = {package.name: (package.version_count, package.latest_version) for package in Package.objects.all()}
    assert packages == {"app": (1, "2.0"), "lib": (2, "2.0"), "turbo": (1, "1.0")}
    assert Package.objects.filter(project=None).count() == 3
    Artifact.objects.update(created_at="2020-01-01T00:00Z", touched_at=None)
    collect_garbage(actor=operator)
    assert Artifact.objects.count() == 8  # files and metadata: cited


def test_again_it_changes_nothing(publish, folder):
    publish(folder)
    report = publish(folder)
    assert (report.added, len(report.present), PackageFile.objects.count()) == ([], 4, 4)


def test_a_dry_run_publishes_nothing(publish, folder):
    assert len(publish(folder, dry_run=True).added) == 4
    assert not Package.objects.exists()


def test_what_the_index_has_counts(publish, folder, tmp_path_factory):
    publish(folder)
    later = tmp_path_factory.mktemp("later")
    build_wheel(later, "tool", "1.0", ["app==2.0"])
    assert len(publish(later).added) == 1


def test_a_name_that_looks_like_another_is_accepted_by_name(publish, tmp_path):
    build_wheel(tmp_path, "modern")
    build_wheel(tmp_path, "modem")
    assert len(publish(tmp_path, accepted=["modern", "modem"]).added) == 2


def test_a_name_of_a_project_is_not_taken_over(publish, upload, engineer, tmp_path):
    assert upload(build_wheel(tmp_path, "acme"), engineer).status_code == 200
    build_wheel(tmp_path, "acme", "9.0")
    with pytest.raises(Refused) as refusal:
        services.index_rows.check_name("acme", None)
    assert refusal.value.code == "package_of_another_project"


def test_another_platform_is_named(db, operator, tmp_path):
    build_wheel(tmp_path, "native", tag="cp312-cp312-manylinux_2_28_aarch64")
    environments = build_environments(["3.12"], ["manylinux_2_36_aarch64"])
    report = services.import_folder(actor=operator, folder=write_sums(tmp_path), environments=environments)
    assert len(report.added) == 1


def test_only_the_operator_imports(engineer, actor_for, folder):
    with pytest.raises(Refused):
        services.import_folder(actor=actor_for(engineer), folder=folder, environments=[])


@pytest.mark.django_db
def test_the_command(folder, capsys):
    call_command("publish_wheels", write_sums(folder))
    assert "4 wheels published" in capsys.readouterr().out
    with pytest.raises(CommandError) as refusal:
        call_command("publish_wheels", folder, "--python", "2.7")
    assert refusal.value.returncode == 2
