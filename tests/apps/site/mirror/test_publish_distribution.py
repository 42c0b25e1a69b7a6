"""A file into the index by the upload API, as twine and uv send it."""

from __future__ import annotations

from apps.platform.artifacts.models import Holding
from apps.platform.audit.models import AuditRecord
from apps.site.mirror.models import Package, PackageFile
from tests.package_files import build_sdist, build_wheel, hash_file


def test_it_is_published_and_held_by_the_project(upload, engineer, project, tmp_path):
    wheel = build_wheel(tmp_path, "Acme.Tools", "1.0", ["numpy>=2; extra == 'x'"], requires_python=">=3.9")
    answer = upload(wheel, engineer, name="Acme.Tools", version="1.0", filetype="bdist_wheel")
    assert answer.status_code == 200, answer.content
    file = PackageFile.objects.get()
    assert (file.artifact_id, file.requires_python, file.uploaded_by) == (hash_file(wheel), ">=3.9", "engineer")
    package = Package.objects.get()
    assert (package.name, package.display_name, package.project, package.latest_version) == (
        "acme-tools",
        "Acme.Tools",
        project,
        "1.0",
    )
    assert Holding.objects.filter(project=project, artifact=file.artifact_id).exists()
    assert AuditRecord.objects.filter(action="package.publish").count() == 1


def test_a_source_archive_is_published(upload, engineer, tmp_path):
    assert upload(build_sdist(tmp_path, "acme"), engineer).status_code == 200
    assert PackageFile.objects.get().metadata is None


def test_the_same_bytes_again_are_fine_and_others_are_not(upload, engineer, tmp_path):
    assert upload(build_wheel(tmp_path, "acme"), engineer).status_code == 200
    assert upload(build_wheel(tmp_path, "acme"), engineer).status_code == 200
    answer = upload(build_wheel(tmp_path, "acme", members={"acme/more.py": b"1\n"}), engineer)
    assert (answer.status_code, PackageFile.objects.count()) == (409, 1)
    assert "already exists" in answer.reason_phrase  # what twine --skip-existing looks for


def test_who_may_publish(upload, engineer, viewer, stranger, make_token, tmp_path):
    wheel = build_wheel(tmp_path, "acme")
    answers = {
        "nobody": upload(wheel, None).status_code,
        "viewer": upload(wheel, viewer).status_code,
        "without the scope": upload(wheel, make_token(engineer, scopes=["read", "data:write"])[0]).status_code,
        "engineer": upload(wheel, engineer).status_code,
        "of another project": upload(build_wheel(tmp_path, "acme", "2.0"), stranger).status_code,
    }
    assert answers == {
        "nobody": 401,
        "viewer": 403,
        "without the scope": 403,
        "engineer": 200,
        "of another project": 403,
    }
    assert upload(wheel, None).headers["WWW-Authenticate"].startswith("Basic ")
