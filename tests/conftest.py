"""The cast: a few people whose rights every test can name."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.utils import timezone, translation
from hypothesis import settings as hypothesis
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware

from apps.core import policy
from apps.core.actors import PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.core.token_scopes import SCOPES
from apps.platform.accounts.actors import build_actor_for_token, build_actor_for_user
from apps.platform.accounts.models import ApiToken, Membership, Project, User
from apps.platform.artifacts import stores
from tests.audit_flush import audit_flush  # noqa: F401  wraps the flush of `transaction=True` tests
from tests.html_layout import PageClient
from tests.template_database import create_test_database, drop_test_database

# Playwright keeps an event loop in the thread of the tests for the whole session; Django takes any running loop for
# an asynchronous caller and refuses to touch the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
# Of every plane that a test starts: nobody must have a second factor, except where the test is about that.
os.environ.setdefault("SECOND_FACTOR_ROLES", "")

pytest_plugins = ["tests.tiers", "tests.groups", "tests.clock", "tests.garbage"]

# How long an example takes tells of the machine, not of the code.
hypothesis.register_profile("default", deadline=None, max_examples=20)
hypothesis.register_profile("thorough", deadline=None, max_examples=500)  # --hypothesis-profile=thorough
hypothesis.load_profile("default")

PASSWORD = "correct horse battery 9"


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_modify_db_settings, django_db_blocker):
    """pytest-django's fixture, by a copy of the migrated template instead of the migrations."""
    with django_db_blocker.unblock():
        create_test_database()
    yield
    with django_db_blocker.unblock():
        drop_test_database()


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """Argon2 is slow by design; only tests may skip it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _no_second_factor(settings):
    """Nobody must have one, except in the tests of that."""
    settings.SECOND_FACTOR_ROLES = frozenset()


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk():
    """A test's files need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _write_telemetry_at_once():
    """What devices say is written by a thread seconds later, which must not write into another test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apps.fleet.devices.services.telemetry.FLUSH_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_store():
    """The processes of a run share PLANE_HOME: what a test of one deletes, a test of another may be about to read."""
    build, shared = stores.build_store, str(django_settings.PLANE_HOME)
    own = f"{shared}/stores/{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            stores, "build_store", lambda url, home, *rest: build(url, own if home == shared else home, *rest)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _scan_static_files_once():
    """WhiteNoise scans all static files for each new test client, for 8 ms: share what the first one finds."""
    scan, shared = WhiteNoiseMiddleware.add_files_from_finders, {}

    def add_files(self):
        if not shared:
            scan(self)
            shared.update(self.files)
        self.files.update(shared)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_files)
        yield


@pytest.fixture(autouse=True)
def _default_language():
    """A request leaves its language active in the thread; the next test must not read it."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _own_cache(settings):
    """Redis takes nothing back with the transaction, and is shared: each test has names of its own in it."""
    if settings.CACHES["default"]["BACKEND"].endswith("RedisCache"):
        settings.CACHES = settings.CACHES | {
            "default": settings.CACHES["default"] | {"KEY_PREFIX": f"test-{secrets.token_hex(8)}"}
        }


def person(username: str, *, system_role: str = "") -> User:
    """A user with a known password that is not for one use."""
    user = User(username=username, name=username.title(), system_role=system_role, must_change_password=False)
    user.set_password(PASSWORD)
    user.must_change_password = False
    user.save()
    return user


def member(project: Project, username: str, *roles: ProjectRole) -> User:
    user = person(username)
    Membership.objects.bulk_create([Membership(project=project, user=user, role=role) for role in roles])
    return user


@pytest.fixture
def project(db) -> Project:
    return Project.objects.create(slug="demo", name="Demo")


@pytest.fixture
def other_project(db) -> Project:
    return Project.objects.create(slug="other", name="Other")


@pytest.fixture
def engineer(project) -> User:
    return member(project, "engineer", ProjectRole.ENGINEER)


@pytest.fixture
def viewer(project) -> User:
    return member(project, "viewer", ProjectRole.VIEWER)


@pytest.fixture
def approver(project) -> User:
    return member(project, "approver", ProjectRole.APPROVER)


@pytest.fixture
def stranger(other_project) -> User:
    """Everything in another project, nothing in this one."""
    return member(other_project, "stranger", *ProjectRole)


@pytest.fixture
def auditor(db) -> User:
    return person("auditor", system_role=SystemRole.AUDITOR)


@pytest.fixture
def sysadmin(db) -> User:
    return person("sysadmin", system_role=SystemRole.SYSTEM_ADMIN)


@pytest.fixture
def secadmin(db) -> User:
    return person("secadmin", system_role=SystemRole.SECURITY_ADMIN)


@pytest.fixture
def actor_for():
    """The Actor of a user at a browser, read anew."""
    return lambda user: build_actor_for_user(User.objects.get(pk=user.pk), address="192.0.2.1", request_id="request-1")


@pytest.fixture
def worker_actor():
    return build_plane_actor(PlaneRole.WORKER, host="test")


@pytest.fixture
def operator():
    return build_plane_actor(PlaneRole.OPERATOR)


@pytest.fixture
def make_token(project):
    """make_token(user, project=None, scopes=None, **columns) -> (secret, ApiToken); scopes: all that the roles use."""

    def make(user, in_project=None, scopes=None, **columns):
        held = Membership.objects.filter(user=user).order_by("pk").first()
        where = in_project or (held.project if held else project)
        secret = "dso_" + secrets.token_urlsafe(32)
        token = ApiToken(
            project=where, user=user, created_by=user, name="test", prefix=secret[:12], digest=sha256_hex(secret)
        )
        token.expires_at = timezone.now() + timedelta(days=1)
        token.scopes = list(scopes) if scopes is not None else usable_scopes(token)
        for column, value in columns.items():
            setattr(token, column, value)
        token.save()
        return secret, token

    return make


def usable_scopes(token: ApiToken) -> list[str]:
    usable = []
    for scope, actions in SCOPES.items():
        token.scopes = [scope]
        actor = build_actor_for_token(token)
        if any(policy.is_allowed(actor, action, token) for action in actions):
            usable.append(scope)
    return usable


@pytest.fixture
def api(make_token):
    """api(user or secret) -> APIClient with a bearer token; of a user it is one of the user's first project."""

    def client_of(who):
        secret = who if isinstance(who, str) else make_token(who)[0]
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return client_of


@pytest.fixture
def web():
    """web(user) -> a test client that is logged in, its pages without layout; CSRF is enforced with `csrf=True`."""

    def client_of(user, *, csrf=False):
        client = PageClient(enforce_csrf_checks=csrf)
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return client_of


@pytest.fixture
def password() -> str:
    """The password of everybody in the cast."""
    return PASSWORD
