from __future__ import annotations

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.site.mirror import services
from apps.site.mirror.models import Package, PackageVersion
from tests.package_files import build_wheel


@pytest.fixture
def version(upload, engineer, tmp_path):
    """1.0 of a package of the project, which also has 2.0."""
    for number in ("1.0", "2.0"):
        assert upload(build_wheel(tmp_path, "acme", number), engineer).status_code == 200
    return PackageVersion.objects.get(version="2.0")


def test_it_is_yanked_and_offered_again(version, engineer, actor_for):
    services.yank_version(actor=actor_for(engineer), version=version, reason="deletes files")
    assert Package.objects.get().latest_version == "1.0"
    assert (version.yanked_by, version.yank_reason) == ("engineer", "deletes files")
    services.unyank_version(actor=actor_for(engineer), version=version)
    assert Package.objects.get().latest_version == "2.0"


def test_who_may_not(version, viewer, stranger, auditor, actor_for):
    for user, error in ((viewer, Refused), (auditor, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            services.yank_version(actor=actor_for(user), version=version, reason="x")


def test_what_was_imported_is_the_operators(publish, operator, engineer, sysadmin, actor_for, tmp_path):
    build_wheel(tmp_path, "acme")
    publish(tmp_path)
    version = PackageVersion.objects.get()
    with pytest.raises(Refused):
        services.yank_version(actor=actor_for(engineer), version=version, reason="x")
    services.yank_version(actor=actor_for(sysadmin), version=version, reason="x")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_reason_is_needed(version, engineer, actor_for, reason):
    with pytest.raises(Invalid):
        services.yank_version(actor=actor_for(engineer), version=version, reason=reason)


def test_twice_is_a_conflict(version, engineer, actor_for):
    actor = actor_for(engineer)
    with pytest.raises(Conflict):
        services.unyank_version(actor=actor, version=version)
    services.yank_version(actor=actor, version=version, reason="x")
    with pytest.raises(Conflict):
        services.yank_version(actor=actor, version=version, reason="x")
