"""Each probe sees its control break: its verdict falls. And each leaves nothing behind."""

from __future__ import annotations

import base64
import os
import socket
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from itertools import islice

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.test import override_settings
from django.urls import get_resolver
from django.utils import timezone
from pydantic import SecretStr

from apps.core import policy
from apps.core.actors import DeviceRole, PlaneRole, ProjectRole, SystemRole
from apps.platform.accounts.models import User
from apps.platform.artifacts.store import Staging
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.services import record
from apps.platform.audit.triggers import disable_triggers
from apps.platform.nodes.models import Node
from apps.site.compliance.probes.access import iter_paths
from apps.site.compliance.probes.context import STRONG, ProbeContext
from apps.site.compliance.probes.outcomes import Mode, run_probe
from apps.site.compliance.probes.registry import MODES, PROBES, quiet_logs
from apps.site.compliance.states import VERDICT_RANK
from apps.site.isolation.models import PolicyVersion, ProbeReport
from apps.site.mirror.models import Advisory, AdvisoryFeed
from apps.site.security_alarms.models import RuleSetting
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from tests.apps.site.compliance.conftest import OPERATOR

ADMINISTRATORS_AND_APPROVERS = ("system_admin", "security_admin", "auditor", "approver")
"""The default of SECOND_FACTOR_ROLES, which is empty on planes of tests."""

pytestmark = pytest.mark.django_db


# -- ways to build and to break -------------------------------------------------------------------------------------
@contextmanager
def env(**values):
    with override_settings(ENV=settings.ENV.model_copy(update=values)):
        yield


@contextmanager
def patch(name, value):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(name, value)
        yield


@contextmanager
def allow(action, *roles):
    """Let these roles do what they may not."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(policy.ACTIONS, action, policy.ACTIONS[action] | set(roles))
        yield


@contextmanager
def several(*ways):
    with ExitStack() as stack:
        for way in ways:
            stack.enter_context(way())
        yield


@contextmanager
def row(build):
    """Something in the database, or a file."""
    build()
    yield


def refuse_nothing(*args, **kwargs):
    """In place of a check."""


TLS = {
    "SECURE_SSL_REDIRECT": True,
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
    "SECURE_HSTS_SECONDS": 31_536_000,
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
}
WITHOUT_LOG_IN = "apps.platform.accounts.middleware.LoginRequired"
NOBODY = {"kind": "", "label": "", "user": None}
ENGINEER, VIEWER = ProjectRole.ENGINEER, ProjectRole.VIEWER
SYSTEM, SECURITY, AUDITOR = SystemRole.SYSTEM_ADMIN, SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR
SCANNER = '#!/bin/sh\ngrep -rq EICAR "$@" && exit 1 || exit 0\n'
UPLOAD_SCANNER = "#!/bin/sh\ngrep -q EICAR && exit 1 || exit 0\n"


def remove_log_in():
    """Without it; a few addresses, because pages that are made cost more than refusals."""
    few = list(islice(iter_paths(get_resolver()), 0, None, 4))
    return several(
        lambda: override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if name != WITHOUT_LOG_IN]),
        lambda: patch("apps.site.compliance.probes.access.iter_paths", lambda resolver: few),
    )


def create_user(**fields):
    user = User(must_change_password=False, **fields)
    user.set_password(fields["username"])
    user.must_change_password = False
    user.save()


def create_unused_user(last_login):
    create_user(username="old", last_login=last_login)
    User.objects.update(created_at=last_login)


def edit_sealed_record():
    record(actor=OPERATOR, action="project.create", object_type="project", object_id="1")
    seal_all()
    with disable_triggers(connection):
        AuditRecord.objects.filter(seq__isnull=False).update(body='{"v":1}')


def store_snapshot(days: int, drill: str = "succeeded") -> Snapshot:
    made = timezone.now() - timedelta(days=days)
    facts = {"destination": "main", "requested_by": "x"}
    snapshot = Snapshot.objects.create(state="stored", name="a" * 32, made_at=made, **facts)
    SnapshotOperation.objects.create(snapshot=snapshot, kind="drill", state=drill, ended_at=made, **facts)
    return snapshot


def add_feed():
    AdvisoryFeed.objects.create(name="f", digest="0" * 64, dated_at=timezone.now(), advisories=1, imported_by="x")


def add_advisory():
    affected = {"versions": [], "ranges": [[{"introduced": "0"}]]}
    feed = AdvisoryFeed.objects.get()
    Advisory.objects.create(feed=feed, advisory_id="GHSA-1", package_name="django", affected=affected)


def report_node(verdict: str):
    node, _ = Node.objects.get_or_create(name="n1", defaults={"host": "n1", "heartbeat_at": timezone.now()})
    ProbeReport.objects.create(
        node=node, verdict=verdict, results=[{"protocol": "tcp", "target": "x", "verdict": verdict}]
    )


def set_network_policy():
    PolicyVersion.objects.create(number=1, document={}, digest="d" * 64, reason="x", created_by="x")


def leave_scratch(home):
    folder = home / "scratch" / "n1" / "7"
    folder.mkdir(parents=True)
    (folder / "secret").write_text("x")
    os.utime(folder, (1, 1))


@contextmanager
def listen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = "apps.site.compliance.probes.intrusion.NEEDLESS_PORTS"
        with patch(ports, (server.getsockname()[1],)):
            yield


def build_scan(tmp_path):
    """The settings of a scanner that knows the test file alone."""
    scanner = tmp_path / "scanner"
    scanner.write_text(SCANNER)
    scanner.chmod(0o700)
    return {"malware_scan_command": str(scanner), "malware_scan": "required", "upload_scan_command": f"{scanner} -"}


def build_table(home, tmp_path):
    """By probe: (what has to be there for it to be met, what breaks its control)."""
    scan = build_scan(tmp_path)
    reader = tmp_path / "reader"
    reader.write_text(UPLOAD_SCANNER)
    reader.chmod(0o700)
    nothing = several
    key = SecretStr(f"k1:{base64.b64encode(bytes(32)).decode()}")
    keys = {"encryption_keys": [key], "store_encryption": "aes-256-gcm"}
    people, members = "apps.platform.accounts.services.people", "apps.platform.accounts.services.members"
    models, health = "apps.platform.accounts.models", "apps.platform.nodes.health.authentication"
    probes = "apps.site.compliance.probes"
    argon2 = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    md5 = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    csp = {"DIRECTIVES": {"default-src": ["*", "'unsafe-inline'"]}}
    old = timezone.now() - timedelta(days=200)
    local_store = "apps.platform.artifacts.local_store.LocalStore.verify"
    publish = "apps.platform.artifacts.local_store.LocalStaging.publish"
    return {
        "unique-identity": (nothing, lambda: patch(f"{people}.validation.check_fields", refuse_nothing)),
        "password-policy": (
            nothing,
            lambda: override_settings(AUTH_PASSWORD_VALIDATORS=[]),
        ),
        "password-age": (nothing, lambda: override_settings(PASSWORD_MAX_AGE_DAYS=0)),
        "second-factor": (
            lambda: override_settings(SECOND_FACTOR_ROLES=frozenset(ADMINISTRATORS_AND_APPROVERS)),
            lambda: override_settings(SECOND_FACTOR_ROLES=frozenset({"system_admin"})),
        ),
        "fresh-factor": (
            lambda: override_settings(SECOND_FACTOR_ROLES=frozenset({"approver"})),
            lambda: patch("apps.platform.accounts.reauthentication.check_factor", lambda *words: "password"),
        ),
        "emergency-access": (
            nothing,
            lambda: patch("apps.platform.emergency.models.EmergencyGrantQuerySet.in_force", see_active),
        ),
        "log-retention": (
            lambda: env(log_retention_days=184),
            lambda: patch("controlplane.env.MIN_RETENTION_DAYS", 0),
        ),
        "security-labels": (nothing, lambda: env(security_labels=["public"])),
        "lock-out": (nothing, lambda: override_settings(AXES_FAILURE_LIMIT=50)),
        "idle-session": (nothing, lambda: override_settings(SESSION_COOKIE_AGE=7200)),
        "transport": (
            lambda: several(lambda: env(behind_tls=True), lambda: override_settings(**TLS)),
            lambda: override_settings(SECURE_SSL_REDIRECT=False),
        ),
        "administrator-addresses": (
            lambda: override_settings(ADMIN_ALLOW=["10.9.0.0/16"]),
            lambda: override_settings(ADMIN_ALLOW=[]),
        ),
        "anonymous-access": (nothing, remove_log_in),
        "default-accounts": (nothing, lambda: row(lambda: create_user(username="admin"))),
        "disabled-accounts": (
            nothing,
            lambda: several(
                lambda: patch(f"{people}.end_sessions", lambda user: 0),
                keep_inactive,
            ),
        ),
        "expired-accounts": (nothing, lambda: row(lambda: create_unused_user(old))),
        "separated-roles": (nothing, lambda: allow("user.create", SECURITY)),
        "one-role-each": (
            nothing,
            lambda: several(
                lambda: patch(f"{members}.refuse_as_member", refuse_nothing),
                lambda: patch(f"{people}.validation.check_no_memberships", refuse_nothing),
            ),
        ),
        "escalation": (nothing, lambda: allow("member.set_roles", VIEWER)),
        "project-isolation": (
            nothing,
            lambda: several(
                lambda: patch(f"{models}.ProjectQuerySet.visible_to", see_all),
                lambda: patch("apps.core.policy.can_see_project", lambda actor, project_id: True),
            ),
        ),
        "process-isolation": (nothing, lambda: allow("user.disable", PlaneRole.WORKER)),
        "audited-events": (nothing, lambda: patch(f"{members}.record", refuse_nothing)),
        "record-content": (
            nothing,
            lambda: patch("apps.core.actors.Actor.as_record", lambda self: NOBODY),
        ),
        "trail-protection": (nothing, lambda: disable_triggers(connection)),
        "trail-integrity": (nothing, lambda: row(edit_sealed_record)),
        "trail-backup": (
            lambda: several(
                lambda: row(lambda: record(actor=OPERATOR, action="audit.export")),
                lambda: patch(f"{probes}.trail.read_checkpoints", lambda: iter([{"seq": 1}])),
            ),
            lambda: patch(f"{probes}.trail.read_checkpoints", lambda: iter([])),
        ),
        "audit-interruption": (
            nothing,
            lambda: several(lambda: allow("audit.verify", SYSTEM), lambda: allow("audit.export", SYSTEM)),
        ),
        "audit-retention": (lambda: env(log_retention_days=184), lambda: env(log_retention_days=0)),
        "minimal-components": (
            lambda: patch(f"{probes}.intrusion.list_unneeded_components", lambda: ()),
            lambda: patch(f"{probes}.intrusion.list_unneeded_components", lambda: ("telnetd",)),
        ),
        "closed-ports": (nothing, listen),
        "input-validation": (nothing, lambda: override_settings(ALLOWED_HOSTS=["*"])),
        "foreign-pages": (nothing, lambda: override_settings(CONTENT_SECURITY_POLICY=csp)),
        "known-vulnerabilities": (lambda: row(add_feed), lambda: row(add_advisory)),
        "intrusion-detection": (nothing, lambda: override_settings(AXES_ENABLED=False)),
        "unsafe-models": (nothing, lambda: patch("deepseek.models.assets._PICKLE", b"\xff\xff")),
        "malware-scan": (lambda: env(**scan), lambda: env(upload_scan_command="", malware_scan="optional")),
        "upload-scan": (lambda: env(upload_scan_command=str(reader)), lambda: env(upload_scan_command="")),
        "signed-releases": (nothing, lambda: patch("deepseek.signing.dsse.is_signature", lambda *args: True)),
        "upload-digests": (nothing, lambda: patch(publish, publish_anything())),
        "stored-bytes": (nothing, lambda: patch(local_store, lambda self, digest: True)),
        "service-links": (nothing, lambda: env(broker_url="redis://10.0.0.1/0")),
        "stored-secrets": (
            lambda: override_settings(PASSWORD_HASHERS=argon2),
            lambda: override_settings(PASSWORD_HASHERS=md5),
        ),
        "encrypted-store": (
            lambda: several(lambda: patch(f"{probes}.protection.get_store_folder", lambda: None), lambda: env(**keys)),
            lambda: env(store_encryption="off"),
        ),
        "backup": (
            lambda: row(lambda: store_snapshot(1)),
            lambda: row(lambda: Snapshot.objects.update(made_at=old)),
        ),
        "restore-drill": (lambda: row(lambda: store_snapshot(1)), lambda: row(lambda: store_snapshot(0, "failed"))),
        "ended-sessions": (
            nothing,
            lambda: patch("apps.platform.accounts.models.User.get_session_auth_hash", lambda self: "x"),
        ),
        "cleared-scratch": (nothing, lambda: row(lambda: leave_scratch(home))),
        "personal-data": (
            nothing,
            lambda: patch(f"{probes}.protection.list_unlisted_fields", lambda: ["accounts.User.phone"]),
        ),
        "personal-data-access": (nothing, lambda: allow("user.view", ENGINEER)),
        "system-administrator": (nothing, lambda: allow("snapshot.view", ENGINEER)),
        "system-duties": (nothing, lambda: allow("snapshot.create", AUDITOR)),
        "audit-administrator": (nothing, lambda: allow("audit.view", SYSTEM)),
        "audit-duties": (nothing, lambda: allow("audit.verify", SECURITY)),
        "security-administrator": (nothing, lambda: allow("user.view", ENGINEER)),
        "security-duties": (nothing, lambda: allow("user.set_system_role", SYSTEM)),
        "node-isolation": (lambda: row(lambda: report_node("refused")), lambda: row(lambda: report_node("passed"))),
        "node-tokens": (
            nothing,
            lambda: patch(f"{health}.authenticate_node", invent_node),
        ),
        "central-monitoring": (
            nothing,
            lambda: row(
                lambda: Node.objects.create(name="silent", host="x", heartbeat_at=timezone.now() - timedelta(90))
            ),
        ),
        "central-policy": (
            lambda: several(lambda: row(set_network_policy), lambda: env(**scan)),
            lambda: env(upload_scan_command=""),
        ),
    }


def list_other_controls(home, tmp_path):
    """(probe, words of the attempt, what has to be there, what breaks the control): those that `build_table` leaves."""
    nothing = several
    probes, accounts = "apps.site.compliance.probes", "apps.platform.accounts"
    old = timezone.now() - timedelta(days=200)
    tls = partial(several, lambda: env(behind_tls=True), lambda: override_settings(**TLS))
    snapshot = partial(row, lambda: store_snapshot(1))
    plain = tmp_path / "store"
    (plain / "sha256" / "aa").mkdir(parents=True)
    (plain / "sha256" / "aa" / "object").write_bytes(b"x")
    secret = home / "secret.key"
    secret.write_text("x")
    secret.chmod(0o600)
    key = SecretStr(f"k1:{base64.b64encode(bytes(32)).decode()}")
    keys = {"encryption_keys": [key], "store_encryption": "aes-256-gcm"}
    encrypted = partial(
        several, lambda: patch(f"{probes}.protection.get_store_folder", lambda: None), lambda: env(**keys)
    )
    return [
        ("lock-out", "Log in with the right password", nothing, lambda: override_settings(AXES_ENABLED=False)),
        ("idle-session", "after its longest time", nothing, lambda: patch(f"{accounts}.middleware.STARTED", "other")),
        ("transport", "HSTS", tls, lambda: override_settings(SECURE_HSTS_SECONDS=0)),
        ("transport", "Cookies", tls, lambda: override_settings(SESSION_COOKIE_SECURE=False)),
        ("default-accounts", "Log in as root", nothing, lambda: row(lambda: create_user(username="root"))),
        ("default-accounts", "one-time passwords", nothing, lambda: row(lambda: leave_first_password(old))),
        (
            "disabled-accounts",
            "session of a disabled",
            nothing,
            lambda: several(lambda: patch(f"{accounts}.services.people.end_sessions", lambda user: 0), keep_inactive),
        ),
        ("expired-accounts", "past its end", nothing, lambda: patch(f"{accounts}.models.User.has_access", True)),
        ("separated-roles", "trail as the system", nothing, lambda: allow("audit.export", SYSTEM)),
        ("separated-roles", "trail as the security", nothing, lambda: allow("audit.export", SECURITY)),
        ("separated-roles", "Disable an account as the auditor", nothing, lambda: allow("user.disable", AUDITOR)),
        ("separated-roles", "Give a role as the auditor", nothing, lambda: allow("user.set_system_role", AUDITOR)),
        ("separated-roles", "as an engineer", nothing, lambda: allow("user.create", ENGINEER)),
        ("process-isolation", "Give roles as a worker", nothing, lambda: allow("member.set_roles", PlaneRole.WORKER)),
        ("process-isolation", "account as a dispatcher", nothing, lambda: allow("user.disable", PlaneRole.DISPATCHER)),
        ("process-isolation", "account as a device", nothing, lambda: allow("user.disable", DeviceRole.DEVICE)),
        ("audit-retention", "Delete a record", nothing, lambda: disable_triggers(connection)),
        ("trail-protection", "triggers", nothing, lambda: disable_triggers(connection)),
        ("foreign-pages", "foreign frame", nothing, lambda: override_settings(X_FRAME_OPTIONS="SAMEORIGIN")),
        (
            "foreign-pages",
            "read as another type",
            nothing,
            lambda: override_settings(SECURE_CONTENT_TYPE_NOSNIFF=False),
        ),
        (
            "known-vulnerabilities",
            "younger",
            lambda: row(add_feed),
            lambda: row(lambda: AdvisoryFeed.objects.update(dated_at=old)),
        ),
        ("malware-scan", "Bring", partial(env, **build_scan(tmp_path)), lambda: env(malware_scan_command="")),
        ("stored-secrets", "keys of the plane", nothing, lambda: row(lambda: secret.chmod(0o644))),
        (
            "encrypted-store",
            "before the encryption",
            encrypted,
            lambda: patch(f"{probes}.protection.get_store_folder", lambda: plain),
        ),
        (
            "backup",
            "not damaged",
            snapshot,
            lambda: row(lambda: Snapshot.objects.update(damaged=["x"])),
        ),
        ("restore-drill", "passed within", snapshot, lambda: row(lambda: SnapshotOperation.objects.all().delete())),
        (
            "personal-data",
            "past their retention",
            nothing,
            lambda: patch(f"{probes}.protection.count_overdue", return_one),
        ),
        ("personal-data-access", "Export", nothing, lambda: allow("user.view", ENGINEER)),
        (
            "central-policy",
            "network policy of all",
            lambda: row(set_network_policy),
            lambda: row(PolicyVersion.objects.all().delete),
        ),
        ("system-duties", "Hold a node as security", nothing, lambda: allow("node.hold", SECURITY)),
        ("audit-duties", "Export audit records as system", nothing, lambda: allow("audit.export", SYSTEM)),
        (
            "intrusion-detection",
            "without an alarm",
            nothing,
            lambda: row(lambda: disable_rule("failed_log_ins")),
        ),
    ]


def return_one(*args):
    return 1


def leave_first_password(created_at):
    create_user(username="newcomer")
    User.objects.update(must_change_password=True, created_at=created_at)


def disable_rule(name):
    RuleSetting.objects.create(rule=name, threshold=10, minutes=10, is_enabled=False)


def keep_inactive():
    return patch("django.contrib.auth.backends.ModelBackend.user_can_authenticate", lambda self, user: True)


def see_active(self):
    return self.filter(state="active")


def see_all(self, actor):
    return self


def invent_node(request):
    node, _ = Node.objects.get_or_create(name="probe", defaults={"host": "probe"})
    return node


def publish_anything():
    publish = Staging.publish
    return lambda self, expected_digest=None, expected_size=None, is_damaged=None: publish(self, None, None, is_damaged)


def probe(name: str):
    with quiet_logs():
        return run_probe(name, PROBES[name], ProbeContext(), MODES.get(name, Mode.WHOLE))


# -- the tests ------------------------------------------------------------------------------------------------------
def test_each_probe_sees_its_control_break(home, tmp_path):
    table = build_table(home, tmp_path)
    assert set(table) == set(PROBES)
    wrong = {}
    for name, (build, break_) in table.items():
        with transaction.atomic():
            with build():
                before = probe(name)
                with break_():
                    after = probe(name)
            transaction.set_rollback(True)
        if not VERDICT_RANK[after.verdict] < VERDICT_RANK[before.verdict]:
            wrong[name] = (str(before.verdict), str(after.verdict), [each.detail for each in after.attempts])
    assert wrong == {}


def test_each_attempt_sees_its_own_control_break(home, tmp_path):
    wrong = {}
    for name, words, build, break_ in list_other_controls(home, tmp_path):
        with transaction.atomic():
            with build():
                before = probe(name)
                with break_():
                    after = probe(name)
            transaction.set_rollback(True)
        results = [[each.holds for each in outcome.attempts if words in each.text.en] for outcome in (before, after)]
        if results != [[True], [False]]:
            wrong[name, words] = (results, [(each.text.en, each.detail) for each in after.attempts])
    assert wrong == {}


def test_probes_that_read_write_nothing(home):
    """Those leave SQLite's write lock to others."""
    writes = {}

    def watch(execute, sql, params, many, context):
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "REPLACE")):
            writes.setdefault(name, sql[:80])
        return execute(sql, params, many, context)

    names = sorted(name for name, mode in MODES.items() if mode == Mode.READING)
    few = list(islice(iter_paths(get_resolver()), 0, None, 8))
    with (
        connection.execute_wrapper(watch),
        patch("apps.site.compliance.probes.access.iter_paths", lambda resolver: few),
    ):
        for name in names:
            probe(name)
    assert writes == {}
    assert len(names) > 15


def test_no_wrong_password_is_counted_against_an_account_that_exists(home, client):
    """With Redis the counters of a rolled-back probe stay."""
    create_user(username="Admin", last_login=timezone.now())
    User.objects.update(password=make_password(STRONG))
    seen = []
    with patch("apps.platform.accounts.lockout.consume", lambda request, **words: seen.append(words["key"])):
        assert probe("default-accounts").verdict == "met"
    assert seen == ["root"]


def test_a_probe_that_crashes_is_not_met_with_its_error(db):
    def crash(context):
        raise ZeroDivisionError("a defect")
        yield

    outcome = run_probe("crash", crash, ProbeContext())
    assert (str(outcome.verdict), outcome.attempts[0].detail) == ("not met", "ZeroDivisionError: a defect")


def test_a_probe_leaves_nothing_behind(home):
    def count():
        return {model.__name__: model._default_manager.count() for model in apps.get_models()}

    before = count()
    for name in (
        "lock-out",
        "escalation",
        "disabled-accounts",
        "trail-protection",
        "upload-digests",
        "intrusion-detection",
    ):
        probe(name)
    assert count() == before
