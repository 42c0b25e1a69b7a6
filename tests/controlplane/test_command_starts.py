"""Our commands start without the pages and views, which only the web process serves and `check` looks at."""

from __future__ import annotations

from django.core.management import get_commands, load_command_class

OURS = ("apps.", "controlplane", "workers")
DEVELOPERS = {"makemessages"}  # run by hand, and Django's own but for its flags


def test_no_command_runs_the_system_checks():
    """They load the whole URL configuration: more seconds and memory than a worker or dispatcher needs to start."""
    checking = [
        name
        for name, app in get_commands().items()
        if app.startswith(OURS) and name not in DEVELOPERS and load_command_class(app, name).requires_system_checks
    ]
    assert checking == []
