"""The bodies of accounts' REST views."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.confirmations import list_unconfirmed_changes
from apps.platform.accounts.models import ApiToken, CredentialChange, Project, Theme, User
from apps.platform.accounts.queries import name_of
from apps.platform.accounts.services import DEFAULT_DAYS
from apps.platform.accounts.validation import DAYS


class ProjectSerializer(serializers.ModelSerializer[Project]):
    class Meta:
        model = Project
        fields = ["slug", "name", "created_at"]
        read_only_fields = fields


class NewProjectSerializer(serializers.Serializer[Project]):
    slug = serializers.CharField(max_length=50, help_text="Lower-case letters, digits, hyphens; part of every address.")
    name = serializers.CharField(
        max_length=120, required=False, allow_blank=True, default="", help_text="As shown to people."
    )


class MeSerializer(serializers.Serializer[Any]):
    """The actor of this very request."""

    kind = serializers.ChoiceField(choices=["user", "service_account"])
    label = serializers.CharField()  # type: ignore[assignment]  # DRF's Field has an attribute of this name
    system_role = serializers.CharField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField(), allow_null=True, help_text="null: no token.")
    time_zone = serializers.CharField(allow_null=True, help_text="Of pages, as chosen; empty: the browser's.")
    language = serializers.CharField(allow_null=True, help_text="Of pages, as chosen; empty: the browser's.")
    theme = serializers.CharField(allow_null=True, help_text="Of pages, as chosen; empty: the browser's.")
    projects = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), help_text="Roles by the project's slug."
    )


class PreferencesSerializer(serializers.Serializer[Any]):
    """How pages are shown; what is left out stays as it is, what is empty is as the browser has it."""

    time_zone = serializers.CharField(
        max_length=64, required=False, allow_blank=True, help_text="A name of the IANA database, such as Asia/Shanghai."
    )
    language = serializers.CharField(
        max_length=10,
        required=False,
        allow_blank=True,
        help_text=f"Of: {', '.join(code for code, _name in settings.LANGUAGES)}.",
    )
    theme = serializers.CharField(max_length=10, required=False, allow_blank=True, help_text=f"Of: {', '.join(Theme)}.")


class MemberSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["user", "service_account"])
    name = serializers.CharField()
    full_name = serializers.CharField()
    is_active = serializers.BooleanField()
    roles = serializers.ListField(child=serializers.CharField())


class MembersSerializer(serializers.Serializer[Any]):
    items = MemberSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Always null: the list is whole.")


class RolesSerializer(serializers.Serializer[Any]):
    roles = serializers.ListField(
        child=serializers.CharField(max_length=20), max_length=10, help_text=f"Of: {', '.join(ProjectRole)}."
    )
    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="Goes into the audit trail."
    )


class ExpirySerializer(serializers.Serializer[Any]):
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="From then on nobody gets in; null: no such time."
    )
    reason = serializers.CharField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="Goes into the audit trail."
    )


class DirectoryAccessSerializer(serializers.Serializer[Any]):
    open = serializers.BooleanField(help_text="Whether the first log-in of this user name there is bound to it.")
    reason = serializers.CharField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="Goes into the audit trail."
    )


class CredentialChangeSerializer(serializers.ModelSerializer[CredentialChange]):
    by = serializers.CharField(source="by_label", help_text="Who made it; operator: the command line.")

    class Meta:
        model = CredentialChange
        fields = ["kind", "by", "by_role", "at"]
        read_only_fields = fields


class UserSerializer(serializers.ModelSerializer[User]):
    unconfirmed = serializers.SerializerMethodField(
        help_text="What an administrator set and no other has confirmed; until then the account decides nothing."
    )

    class Meta:
        model = User
        fields = [
            "username",
            "name",
            "email",
            "is_active",
            "system_role",
            "expires_at",
            "open_to_directory",
            "must_change_password",
            "created_at",
            "password_changed_at",
            "password_changed_from",
            "last_login",
            "unconfirmed",
        ]
        read_only_fields = fields

    @extend_schema_field(CredentialChangeSerializer(many=True))
    def get_unconfirmed(self, user: User) -> Any:
        changes = getattr(user, "unconfirmed_changes", None)
        changes = list_unconfirmed_changes(user.pk) if changes is None else changes
        return CredentialChangeSerializer(changes, many=True).data


class NewUserSerializer(serializers.Serializer[User]):
    username = serializers.CharField(max_length=80)
    name = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    email = serializers.CharField(max_length=254, required=False, default="", allow_blank=True)


class OneTimePasswordSerializer(serializers.Serializer[Any]):
    username = serializers.CharField()
    one_time_password = serializers.CharField(help_text="Shown in this answer only.")


class SystemRoleSerializer(serializers.Serializer[Any]):
    system_role = serializers.CharField(
        max_length=20, allow_blank=True, help_text=f"Of: {', '.join(SystemRole)}; empty takes the role away."
    )
    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class NewServiceAccountSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50)
    roles = serializers.ListField(child=serializers.CharField(max_length=20), max_length=10)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    project = serializers.CharField(source="project.slug")
    owner = serializers.SerializerMethodField()
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, help_text="null: the operator's command line."
    )
    holder = serializers.CharField(
        source="holder.username", default=None, allow_null=True, help_text="Of a service account: who was given it."
    )

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "project",
            "owner",
            "created_by",
            "holder",
            "name",
            "prefix",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "last_used_from",
        ]
        read_only_fields = fields

    def get_owner(self, token: ApiToken) -> str:
        owner = token.user or token.service_account
        return name_of(owner) if owner else ""


class ServiceTokenAskedSerializer(serializers.Serializer[ApiToken]):
    name = serializers.CharField(max_length=80, help_text="What the token is for.")
    scopes = serializers.ListField(child=serializers.CharField(max_length=40), max_length=20)
    days = serializers.IntegerField(
        required=False, default=DEFAULT_DAYS, help_text=f"Lifetime, {DAYS[0]} to {DAYS[1]} days."
    )


class HeldTokenAskedSerializer(ServiceTokenAskedSerializer):
    holder = serializers.CharField(
        max_length=80,
        required=False,
        allow_null=True,
        default=None,
        help_text="User name of the person to whom it is given, who then cannot decide what the account asks for. "
        "Without one it asks for no promotion.",
    )


class TokenAskedSerializer(ServiceTokenAskedSerializer):
    project = serializers.CharField(max_length=50, help_text="Slug of the project that the token is for.")


class NewTokenSerializer(TokenSerializer):
    """A token with its secret, in the answer to its creation only."""

    token = serializers.CharField(help_text="The secret; it is not kept, so it cannot be shown again.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields
