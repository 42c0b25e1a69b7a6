"""Accounts for programs. Most of it no token may do: those calls take a browser's session with its CSRF token."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.accounts import queries, services
from apps.platform.accounts import serializers as bodies
from apps.platform.accounts.models import ApiToken, Project, User
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.reauthentication import require_fresh_factor


def parse_body(kind: type[serializers.BaseSerializer[Any]], request: Request) -> dict[str, Any]:
    """The validated body; DRF's ValidationError becomes a 422 in our shape."""
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


class Me(APIView):
    @extend_schema(responses=bodies.MeSerializer)
    def get(self, request: Request) -> Response:
        """Who the plane takes you for, and what you may do where."""
        return Response(serialize_actor(request))

    @extend_schema(request=bodies.PreferencesSerializer, responses=bodies.MeSerializer)
    def patch(self, request: Request) -> Response:
        """Choose how pages are shown to you: zone, language, theme. What is left out stays; no token may."""
        body = parse_body(bodies.PreferencesSerializer, request)
        request.user = services.set_preferences(actor=request.actor, **body)
        return Response(serialize_actor(request))


def serialize_actor(request: Request) -> dict[str, Any]:
    actor: Actor = request.actor
    own = request.user if isinstance(request.user, User) else None
    slugs = dict(Project.objects.filter(pk__in=actor.project_ids).values_list("pk", "slug"))
    return {
        "kind": actor.kind,
        "label": actor.label,
        "system_role": actor.system_role,
        "scopes": sorted(actor.scopes) if actor.scopes is not None else None,
        "time_zone": own.time_zone if own else None,
        "language": own.language if own else None,
        "theme": own.theme if own else None,
        "projects": {slugs[pk]: sorted(roles) for pk, roles in actor.project_roles.items() if pk in slugs},
    }


# -- projects -------------------------------------------------------------------------------------------------------
class ProjectList(ListAPIView[Project]):
    serializer_class = bodies.ProjectSerializer
    queryset = Project.objects.none()  # for the schema alone
    page_order = ("slug",)

    def get_queryset(self) -> Any:
        return queries.list_projects(self.request.actor)

    @extend_schema(request=bodies.NewProjectSerializer, responses={201: bodies.ProjectSerializer})
    def post(self, request: Request) -> Response:
        policy.require(request.actor, "project.create")
        project = services.create_project(actor=request.actor, **parse_body(bodies.NewProjectSerializer, request))
        return Response(bodies.ProjectSerializer(project).data, status=status.HTTP_201_CREATED)


class ProjectDetail(APIView):
    @extend_schema(responses=bodies.ProjectSerializer)
    def get(self, request: Request, project: str) -> Response:
        queries.list_projects(request.actor)  # a token needs the scope
        return Response(bodies.ProjectSerializer(get_project(request.actor, project)).data)


class MemberList(APIView):
    @extend_schema(responses=bodies.MembersSerializer)
    def get(self, request: Request, project: str) -> Response:
        members = queries.list_members(request.actor, get_project(request.actor, project))
        return Response({"items": bodies.MemberSerializer(members, many=True).data, "next": None})


class MemberDetail(APIView):
    @extend_schema(request=bodies.RolesSerializer, responses=bodies.MembersSerializer)
    def put(self, request: Request, project: str, name: str) -> Response:
        """Set the roles of a person or service account; adds the member if need be."""
        where = get_project(request.actor, project)
        member = queries.get_member(request.actor, where, name)
        policy.require(request.actor, "member.set_roles", where)
        body = parse_body(bodies.RolesSerializer, request)
        services.set_member_roles(actor=request.actor, project=where, member=member, **body)
        members = queries.list_members(request.actor, where)
        return Response({"items": bodies.MemberSerializer(members, many=True).data, "next": None})

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, project: str, name: str) -> Response:
        """Take every role in the project and revoke the member's tokens there."""
        where = get_project(request.actor, project)
        services.remove_member(
            actor=request.actor, project=where, member=queries.get_member(request.actor, where, name)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ServiceAccountList(APIView):
    @extend_schema(request=bodies.NewServiceAccountSerializer, responses={201: bodies.MembersSerializer})
    def post(self, request: Request, project: str) -> Response:
        where = get_project(request.actor, project)
        policy.require(request.actor, "service_account.create", where)
        body = parse_body(bodies.NewServiceAccountSerializer, request)
        services.create_service_account(actor=request.actor, project=where, **body)
        members = queries.list_members(request.actor, where)
        return Response(
            {"items": bodies.MemberSerializer(members, many=True).data, "next": None}, status=status.HTTP_201_CREATED
        )


class ServiceAccountDisable(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses={204: None})
    def post(self, request: Request, project: str, name: str) -> Response:
        account = queries.get_service_account(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "service_account.disable", account)
        services.disable_service_account(
            actor=request.actor, account=account, **parse_body(bodies.ReasonSerializer, request)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ServiceAccountTokens(APIView):
    @extend_schema(request=bodies.HeldTokenAskedSerializer, responses={201: bodies.NewTokenSerializer})
    def post(self, request: Request, project: str, name: str) -> Response:
        """Create a token for the account. Who creates it and its `holder` count as requesters of what it asks for."""
        account = queries.get_service_account(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "token.create_for_service_account", account)
        body = parse_body(bodies.HeldTokenAskedSerializer, request)
        body["holder"] = queries.get_holder(request.actor, account, body["holder"])
        token, secret = services.create_token_for_service_account(actor=request.actor, account=account, **body)
        return build_secret_response(token, secret)


# -- people ---------------------------------------------------------------------------------------------------------
class UserList(ListAPIView[User]):
    serializer_class = bodies.UserSerializer
    queryset = User.objects.none()  # for the schema alone
    page_order = ("username",)

    def get_queryset(self) -> Any:
        return queries.list_users(self.request.actor)

    @extend_schema(request=bodies.NewUserSerializer, responses={201: bodies.OneTimePasswordSerializer})
    def post(self, request: Request) -> Response:
        policy.require(request.actor, "user.create")
        user, password = services.create_user(actor=request.actor, **parse_body(bodies.NewUserSerializer, request))
        answer = {"username": user.username, "one_time_password": password}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class UserDetail(APIView):
    @extend_schema(responses=bodies.UserSerializer)
    def get(self, request: Request, username: str) -> Response:
        return Response(bodies.UserSerializer(queries.get_user(request.actor, username)).data)


class UserDisable(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses=bodies.UserSerializer)
    def post(self, request: Request, username: str) -> Response:
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.disable", user)
        user = services.disable_user(actor=request.actor, user=user, **parse_body(bodies.ReasonSerializer, request))
        return Response(bodies.UserSerializer(user).data)


class UserEnable(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses=bodies.UserSerializer)
    def post(self, request: Request, username: str) -> Response:
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.enable", user)
        user = services.enable_user(actor=request.actor, user=user, **parse_body(bodies.ReasonSerializer, request))
        return Response(bodies.UserSerializer(user).data)


class UserResetPassword(APIView):
    @extend_schema(request=None, responses=bodies.OneTimePasswordSerializer)
    def post(self, request: Request, username: str) -> Response:
        user = queries.get_user(request.actor, username)
        password = services.reset_password(actor=request.actor, user=user)
        answer = {"username": user.username, "one_time_password": password}
        return Response(answer, headers={"Cache-Control": "no-store"})


class UserExpiry(APIView):
    @extend_schema(request=bodies.ExpirySerializer, responses=bodies.UserSerializer)
    def put(self, request: Request, username: str) -> Response:
        """Let the account end at a time, or at none (null). No token may."""
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.set_expiry", user)
        user = services.set_account_expiry(
            actor=request.actor, user=user, **parse_body(bodies.ExpirySerializer, request)
        )
        return Response(bodies.UserSerializer(user).data)


class UserDirectory(APIView):
    @extend_schema(request=bodies.DirectoryAccessSerializer, responses=bodies.UserSerializer)
    def put(self, request: Request, username: str) -> Response:
        """Open a local account to the directory, or close it and forget whom it was bound to. No token may."""
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.open_to_directory", user)
        body = parse_body(bodies.DirectoryAccessSerializer, request)
        user = services.set_directory_access(
            actor=request.actor, user=user, is_open=body["open"], reason=body["reason"]
        )
        return Response(bodies.UserSerializer(user).data)


class UserResetSecondFactor(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses=bodies.UserSerializer)
    def post(self, request: Request, username: str) -> Response:
        """Take away the second factors of a person who has lost them. No token may; their sessions end."""
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.reset_second_factor", user)
        user = services.reset_second_factor(
            actor=request.actor, user=user, **parse_body(bodies.ReasonSerializer, request)
        )
        return Response(bodies.UserSerializer(user).data)


class UserConfirmCredentials(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses=bodies.UserSerializer)
    def post(self, request: Request, username: str) -> Response:
        """Confirm that the person alone holds the credentials that another kind of administrator has set.

        No token may. Until then the account decides nothing (`credentials_unconfirmed`); its sessions end now.
        """
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.confirm_credentials", user)
        user = services.confirm_credentials(
            actor=request.actor, user=user, **parse_body(bodies.ReasonSerializer, request)
        )
        return Response(bodies.UserSerializer(user).data)


class UserSystemRole(APIView):
    @extend_schema(request=bodies.SystemRoleSerializer, responses=bodies.UserSerializer)
    def put(self, request: Request, username: str) -> Response:
        user = queries.get_user(request.actor, username)
        policy.require(request.actor, "user.set_system_role", user)
        user = services.set_system_role(
            actor=request.actor, user=user, **parse_body(bodies.SystemRoleSerializer, request)
        )
        return Response(bodies.UserSerializer(user).data)


# -- tokens ---------------------------------------------------------------------------------------------------------
class TokenList(ListAPIView[ApiToken]):
    serializer_class = bodies.TokenSerializer
    queryset = ApiToken.objects.none()  # for the schema alone

    def get_queryset(self) -> Any:
        return queries.list_own_tokens(self.request.actor)

    @extend_schema(request=bodies.TokenAskedSerializer, responses={201: bodies.NewTokenSerializer})
    def post(self, request: Request) -> Response:
        body = parse_body(bodies.TokenAskedSerializer, request)
        project = get_project(request.actor, body.pop("project"))
        require_fresh_factor(request._request, request.actor, body["scopes"])
        return build_secret_response(*services.create_token(actor=request.actor, project=project, **body))


class TokenRevoke(APIView):
    @extend_schema(request=bodies.ReasonSerializer, responses=bodies.TokenSerializer)
    def post(self, request: Request, token_id: int) -> Response:
        token = queries.get_token(request.actor, token_id)
        policy.require(request.actor, "token.revoke", token)
        token = services.revoke_token(actor=request.actor, token=token, **parse_body(bodies.ReasonSerializer, request))
        return Response(bodies.TokenSerializer(token).data)


def build_secret_response(token: ApiToken, secret: str) -> Response:
    answer = {**bodies.TokenSerializer(token).data, "token": secret}
    return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
