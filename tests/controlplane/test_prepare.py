import pytest
from django.core.management import call_command

from controlplane.management.commands import prepare, web
from controlplane.startup_checks import CannotStart


@pytest.fixture
def home(settings, tmp_path):
    settings.ENV = settings.ENV.model_copy(update={"plane_home": tmp_path / "home", "artifact_url": ""})
    return tmp_path / "home"


@pytest.mark.django_db
def test_it_makes_the_folders_and_may_be_run_again(home):
    for _ in range(2):
        call_command("prepare")
    assert (home / "artifacts/sha256").is_dir()
    assert (home / "scratch").stat().st_mode & 0o077 == 0


@pytest.mark.django_db
def test_a_store_elsewhere_is_not_made(home, settings):
    """An empty folder where a share should be mounted would pass for the store."""
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": "file:///mnt/share"})
    call_command("prepare", "--no-migrate")
    assert not (home / "artifacts").exists()


def test_a_home_that_cannot_be_is_named(home, capsys):
    home.touch()
    with pytest.raises(SystemExit) as stop:
        call_command("prepare")
    assert stop.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "command"), [(prepare, "prepare"), (web, "web")])
def test_a_database_that_is_behind_stops_the_start(home, monkeypatch, capsys, module, command):
    def behind(**_):
        raise CannotStart("The database lacks 2 migrations")

    monkeypatch.setattr(module, "ready_database", behind)
    with pytest.raises(SystemExit) as stop:
        call_command(command)
    assert stop.value.code == 2
    assert "lacks 2 migrations" in capsys.readouterr().err
