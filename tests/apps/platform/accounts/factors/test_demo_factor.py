"""The demo decides as its approver, whose role needs a second factor: it sets one up, once, and says how to use it."""

import io
import re

from allauth.mfa.models import Authenticator
from django.core.management import call_command
from rich.console import Console

from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.accounts.services import create_token
from controlplane.management.commands import demo


def test_the_demo_gives_its_approver_an_app(db, code):
    call_command("create_first_accounts", stdout=io.StringIO())
    command, printed = demo.Command(), io.StringIO()
    command.console = Console(file=printed, width=200)
    for _ in range(2):
        command.set_up_second_factor("approver")
    [secret] = re.findall(r"shown once: ([A-Z2-7]{32})\n", printed.getvalue())
    assert f"echo {secret} | python manage.py show_code" in printed.getvalue()
    app = Authenticator.objects.get(user__username="approver", type="totp")
    assert app.wrap().validate_code(code(secret))
    actor = build_actor_for_user(User.objects.get(username="approver"))
    assert create_token(actor=actor, project=Project.objects.get(), name="demo", scopes=demo.APPROVER)
