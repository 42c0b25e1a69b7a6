"""What recertifying every grant of a large plane costs: starting a campaign, confirming all of it, and its page.

    python benchmarks/recertification.py [--grants 10000] [--alternative 500]        SQLite, a home of its own

The named alternative decides about each grant by itself (`decide_grants` with one row), as a script over the REST API
would: it is measured on `--alternative` grants and scaled. Ratios are printed; times are elapsed, and CPU of this
process beside them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
LIMIT_SECONDS = 5.0


def seed(grants: int) -> None:
    """Half of the grants are roles of people, the other half tokens of theirs."""
    from datetime import timedelta

    from django.utils import timezone

    from apps.platform.accounts.models import ApiToken, Membership, Project, User

    projects = Project.objects.bulk_create(Project(slug=f"p{n}", name=f"P{n}") for n in range(20))
    people = User.objects.bulk_create(
        User(username=f"person{n}", must_change_password=False) for n in range(grants // 2)
    )
    User.objects.create(username="secadmin", system_role="security_admin", must_change_password=False)
    Membership.objects.bulk_create(
        Membership(project=projects[n % 20], user=user, role="engineer") for n, user in enumerate(people)
    )
    until = timezone.now() + timedelta(days=30)
    ApiToken.objects.bulk_create(
        ApiToken(
            project=projects[n % 20], user=user, name="t", prefix="dso_", digest=f"{n:064x}",
            scopes=["read"], expires_at=until,
        )
        for n, user in enumerate(people)
    )  # fmt: skip


def measure(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds elapsed, seconds of processor time of this process, what the call returns)."""
    began, busy = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - began, time.process_time() - busy, result


def run(grants: int, alternative: int) -> bool:
    """Print the times; whether start and confirmation stay under the limit."""
    from django.test import Client

    from apps.platform.accounts.actors import build_actor_for_user
    from apps.platform.accounts.models import User
    from apps.platform.recertification.models import GrantReview
    from apps.platform.recertification.services import decide_grants, start_campaign

    secadmin = User.objects.get(username="secadmin")
    actor = build_actor_for_user(secadmin)
    started, started_cpu, campaign = measure(lambda: start_campaign(actor=actor, name="benchmark", days=30))
    first = list(
        campaign.reviews.exclude(user_id=secadmin.pk).order_by("pk").values_list("pk", flat=True)[:alternative]
    )

    def decide_one_by_one() -> None:
        for pk in first:
            rows = GrantReview.objects.filter(pk=pk)
            decide_grants(actor=actor, campaign=campaign, rows=rows, decision="confirmed")

    single, single_cpu, _ = measure(decide_one_by_one)
    confirmed, confirmed_cpu, count = measure(
        lambda: decide_grants(actor=actor, campaign=campaign, rows=None, decision="confirmed")
    )
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(secadmin, backend="allauth.account.auth_backends.AuthenticationBackend")
    client.get(f"/recertification/{campaign.pk}")
    page, page_cpu, answer = measure(lambda: client.get(f"/recertification/{campaign.pk}?q=person"))
    each, busy = single / len(first), single_cpu / len(first)
    print(f"start a campaign over {campaign.reviews.count():,} grants: {started:.2f} s ({started_cpu:.2f} s CPU)")
    print(f"confirm {count:,} at once: {confirmed:.2f} s ({confirmed_cpu:.2f} s CPU)")
    print(f"the alternative, one decision a grant: {each * 1000:.1f} ms each ({busy * 1000:.1f} ms CPU)")
    print(f"ratio, as many one by one: {each * count / confirmed:.0f} times; in CPU {busy * count / confirmed_cpu:.0f}")
    print(f"page of the campaign, filtered: {page * 1000:.0f} ms, {page_cpu * 1000:.0f} ms CPU ({answer.status_code})")
    both = started + confirmed, started_cpu + confirmed_cpu
    print(f"start and confirm: {both[0]:.2f} s, {both[1]:.2f} s CPU; {LIMIT_SECONDS:.0f} s allowed")
    return started + confirmed <= LIMIT_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grants", type=int, default=10_000)
    parser.add_argument("--alternative", type=int, default=500)
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="recertification-")
    os.environ |= {"PLANE_HOME": home, "SECOND_FACTOR_ROLES": ""}
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, interactive=False)
        seed(options.grants)
        return 0 if run(options.grants, options.alternative) else 1
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
