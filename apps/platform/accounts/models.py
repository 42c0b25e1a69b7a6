"""Who there is: people, projects, memberships, service accounts, tokens."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import ClassVar
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor, ProjectRole, SystemRole

CONTINENTS = frozenset(
    {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)
SLUG = RegexValidator(r"^[a-z0-9][a-z0-9-]{0,49}\Z", "Lower-case letters, digits and hyphens; up to 50.")
# The audit trail shows user names, so no two may look alike: the scripts are not mixed (a Cyrillic "a" passes for a
# Latin one), and there are no letters that a database folds onto others ("\u017f" is an "s" to PostgreSQL's UPPER).
USERNAME = RegexValidator(
    r"^(?:[A-Za-z0-9][A-Za-z0-9._@+-]{0,79}|[\u4e00-\u9fff]{1,40}[0-9]{0,4})\Z",
    "Latin letters, digits and . _ @ + - (first a letter or digit), or Chinese characters with digits behind.",
)
# One line of text that reads as it is stored: nothing that breaks it, hides, or turns its direction.
ONE_LINE = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]",
    "Text of one line, without control or invisible characters.",
    inverse_match=True,
)


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


def known_zone(name: str) -> None:
    """ValidationError for what is no zone of this machine's table."""
    if name and name not in list_time_zones():
        raise ValidationError("A zone of the IANA table, for instance Asia/Shanghai.")


def known_language(code: str) -> None:
    codes = [each for each, _name in settings.LANGUAGES]
    if code and code not in codes:
        raise ValidationError(f"One of {', '.join(codes)}.")


@cache
def list_time_zones() -> frozenset[str]:
    """Every name that stands for a place or is UTC: the table's old and its technical names are left out."""
    return frozenset(
        name
        for name in available_timezones()
        if name == "UTC" or ("/" in name and name.partition("/")[0] in CONTINENTS)
    )


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """A person. There is no superuser: what a person may do is one system role or roles in projects, never both."""

    username = models.CharField(max_length=80, unique=True, validators=[USERNAME])
    name = models.CharField(max_length=120, blank=True, validators=[ONE_LINE])
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)
    system_role = models.CharField(max_length=20, blank=True, choices=[(r.value, r.value) for r in SystemRole])
    # From then on the account lets nobody in; the next round of housekeeping disables it. None: no such date.
    expires_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)  # when it was enabled again: from here on its disuse is counted
    clearance = models.PositiveSmallIntegerField(default=0, db_default=0)  # the highest label that the person may see
    must_change_password = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    password_changed_at = models.DateTimeField(null=True)
    password_changed_from = models.CharField(max_length=45, blank=True)  # the address; "" from before it was kept
    # Until when an emergency grant may be in force: only then is the grant looked up (emergency_rights.py).
    emergency_until = models.DateTimeField(null=True)
    # An administrator has opened the account to the directory: the first log-in there of this user name binds it.
    open_to_directory = models.BooleanField(default=False, db_default=False)
    # How the pages are shown; empty: as the browser has it.
    time_zone = models.CharField(max_length=64, blank=True, validators=[known_zone])
    language = models.CharField(max_length=10, blank=True, validators=[known_language])
    theme = models.CharField(max_length=5, blank=True, choices=[(theme.value, theme.value) for theme in Theme])
    hides_first_steps = models.BooleanField(default=False, db_default=False)  # home shows them to a new account

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("username"), name="user_username_ci"),
            # One column, one value: nobody is two of the three administrators, whoever writes the row.
            models.CheckConstraint(
                condition=Q(system_role__in=["", *SystemRole]), name="user_one_administrator_at_most"
            ),
        ]
        indexes = [
            models.Index(fields=["name", "id"], name="user_by_name"),
            models.Index(fields=["system_role", "id"], name="user_by_role"),
            models.Index(fields=["last_login", "id"], name="user_by_log_in", condition=Q(last_login__isnull=False)),
        ]

    def __str__(self) -> str:
        """Never `name`: a person chooses that, and messages and records must not say who they are not."""
        return self.username

    @property
    def has_access(self) -> bool:
        """Whether the account lets anybody in: it is neither disabled nor past its date."""
        return self.is_active and (self.expires_at is None or self.expires_at > timezone.now())

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.username


class FormerPassword(models.Model):
    """A password that a person had, as it was stored: it is not chosen again (passwords.NotTheSameAgain)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    password = models.CharField(max_length=128)
    replaced_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-id"], name="former_passwords")]

    def __str__(self) -> str:
        return f"one of {self.user_id}"


class ExternalIdentity(models.Model):
    """A directory's own name for a person, by which they are found again whatever it calls them by then."""

    user = models.ForeignKey(User, models.CASCADE, related_name="external_identities", db_index=False)
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="external_identity_once"),
            models.UniqueConstraint(fields=["user", "issuer"], name="external_identity_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


class ChangeKind(models.TextChoices):
    CREATED = "created", _("Account created")
    PASSWORD = "password", _("Password reset")
    ROLE = "role", _("Role approver given by the operator")
    SYSTEM_ROLE = "system_role", _("System role given by the operator")
    DIRECTORY = "directory", _("Bound to the directory")


class CredentialChange(models.Model):
    """An administrator set a person's credentials, or the operator their power to decide.

    Until an administrator of the other kind has confirmed it, the account decides nothing: whoever set the password
    could otherwise decide in the person's name. An account without a row counts as confirmed.
    Confirmed from the beginning are the row of a plane's first security administrator and that of one taken away.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="credential_changes", db_index=False)
    kind = models.CharField(max_length=20, choices=ChangeKind.choices)
    by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", db_index=False)  # None: the command line
    by_label = models.CharField(max_length=200)
    # The kind of administrator: a system administrator, as which the operator counts.
    by_role = models.CharField(max_length=20, choices=[(r.value, r.value) for r in SystemRole])
    at = models.DateTimeField(auto_now_add=True)
    confirmed_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", db_index=False)
    confirmed_label = models.CharField(max_length=200, blank=True)
    confirmed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(by=None) | Q(confirmed_by=None) | ~Q(confirmed_by=F("by")),
                name="credential_change_by_two_people",
            )
        ]
        indexes = [
            models.Index(fields=["user", "id"], name="credential_changes"),
            models.Index(fields=["user"], name="credential_unconfirmed", condition=Q(confirmed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user_id}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, actor: Actor) -> ProjectQuerySet:
        if actor.plane_role or (actor.system_role and actor.scopes is None):
            return self
        return self.filter(pk__in=actor.project_ids)


class Project(models.Model):
    slug = models.CharField(max_length=50, unique=True, validators=[SLUG])
    name = models.CharField(max_length=120, validators=[ONE_LINE])
    security_label = models.PositiveSmallIntegerField(default=0, db_default=0)  # a place in SECURITY_LABELS
    created_at = models.DateTimeField(auto_now_add=True)
    objects = ProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """One role of one user or service account in one project; a member may hold several."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="memberships")
    service_account = models.ForeignKey("ServiceAccount", models.CASCADE, null=True, related_name="memberships")
    role = models.CharField(max_length=20, choices=[(r.value, r.value) for r in ProjectRole])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user", "role"], name="membership_user_once"),
            models.UniqueConstraint(fields=["project", "service_account", "role"], name="membership_service_once"),
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(service_account__isnull=True),
                name="membership_of_one",
            ),
        ]


class ServiceAccount(models.Model):
    """An internal tool: acts by token only, in one project."""

    is_authenticated = True  # it takes a person's place in `request.user`, where the framework asks this
    is_anonymous = False

    project = models.ForeignKey(Project, models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=50, validators=[SLUG])
    is_active = models.BooleanField(default=True)
    is_suspended = models.BooleanField(default=False, db_default=False)  # inactive, and a reviewer may give it back
    clearance = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="service_account_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def has_access(self) -> bool:
        return self.is_active


class HolderKind(models.TextChoices):
    CREATED_ACCOUNT = "created_account", _("created the account")
    CREATED_TOKEN = "created_token", _("created a token")
    HOLDS_TOKEN = "holds_token", _("holds a token")
    USED_TOKEN = "used_token", _("used a token")


class ServiceAccountHolder(models.Model):
    """A person who could act as a service account, once and for good: what it asks for, they have asked for too.

    Rows stay when the token is revoked or deleted: a request may be older than that.
    """

    service_account = models.ForeignKey(ServiceAccount, models.CASCADE, related_name="holders", db_index=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=HolderKind.choices)
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["service_account", "user", "kind"], name="holder_once")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.kind} {self.service_account_id}"


class ApiToken(models.Model):
    """A bearer token of one owner in one project. The secret itself is shown once and not kept."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="tokens")
    service_account = models.ForeignKey(ServiceAccount, models.CASCADE, null=True, related_name="tokens")
    # Who was shown the secret. None: the operator's command line.
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", db_index=False)
    # Of a service account: the person to whom the secret was handed.
    holder = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", db_index=False)
    name = models.CharField(max_length=80, validators=[ONE_LINE])
    prefix = models.CharField(max_length=12)  # shown in lists, so that a leaked token can be found
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the whole token: 256 random bits need no salt
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    last_used_from = models.CharField(max_length=45, blank=True)
    revoked_at = models.DateTimeField(null=True)
    # Revoked by the due date of a recertification, so that a reviewer may give it back; until somebody revokes it.
    is_suspended = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(service_account__isnull=True), name="token_of_one"
            )
        ]
        indexes = [
            models.Index(fields=["user", "id"], name="token_by_age"),
            models.Index(fields=["user", "expires_at", "id"], name="token_by_end"),
        ]
