from django.urls import path

from apps.platform.accounts import api

IN_PROJECT = "projects/<slug:project>"

urlpatterns = [
    path("me", api.Me.as_view(), name="api-me"),
    path("projects", api.ProjectList.as_view(), name="api-projects"),
    path(IN_PROJECT, api.ProjectDetail.as_view(), name="api-project"),
    path(f"{IN_PROJECT}/members", api.MemberList.as_view(), name="api-members"),
    path(f"{IN_PROJECT}/members/<str:name>", api.MemberDetail.as_view(), name="api-member"),
    path(f"{IN_PROJECT}/service-accounts", api.ServiceAccountList.as_view(), name="api-service-accounts"),
    path(
        f"{IN_PROJECT}/service-accounts/<str:name>/disable",
        api.ServiceAccountDisable.as_view(),
        name="api-service-account-disable",
    ),
    path(
        f"{IN_PROJECT}/service-accounts/<str:name>/tokens",
        api.ServiceAccountTokens.as_view(),
        name="api-service-account-tokens",
    ),
    path("users", api.UserList.as_view(), name="api-users"),
    path("users/<str:username>", api.UserDetail.as_view(), name="api-user"),
    path("users/<str:username>/disable", api.UserDisable.as_view(), name="api-user-disable"),
    path("users/<str:username>/enable", api.UserEnable.as_view(), name="api-user-enable"),
    path("users/<str:username>/reset-password", api.UserResetPassword.as_view(), name="api-user-reset-password"),
    path(
        "users/<str:username>/reset-second-factor",
        api.UserResetSecondFactor.as_view(),
        name="api-user-reset-second-factor",
    ),
    path(
        "users/<str:username>/confirm-credentials",
        api.UserConfirmCredentials.as_view(),
        name="api-user-confirm-credentials",
    ),
    path("users/<str:username>/directory", api.UserDirectory.as_view(), name="api-user-directory"),
    path("users/<str:username>/expiry", api.UserExpiry.as_view(), name="api-user-expiry"),
    path("users/<str:username>/system-role", api.UserSystemRole.as_view(), name="api-user-system-role"),
    path("tokens", api.TokenList.as_view(), name="api-tokens"),
    path("tokens/<int:token_id>/revoke", api.TokenRevoke.as_view(), name="api-token-revoke"),
]
