from django.urls import path

from apps.platform.accounts import views

app_name = "accounts"
urlpatterns = [
    path("account", views.show_account, name="account"),
    path("account/tokens", views.show_tokens, name="tokens"),
    path("account/tokens/bulk", views.revoke_tokens, name="revoke_tokens"),
    path("account/tokens/<int:token_id>/revoke", views.revoke_token, name="revoke_token"),
    path("people", views.show_people, name="people"),
    path("people/<str:username>", views.show_person, name="person"),
    path("people/<str:username>/disable", views.disable_person, name="disable_person"),
    path("people/<str:username>/enable", views.enable_person, name="enable_person"),
    path("people/<str:username>/reset", views.reset_person, name="reset_person"),
    path("people/<str:username>/reset-second-factor", views.reset_person_factor, name="reset_person_factor"),
    path("people/<str:username>/confirm", views.confirm_person, name="confirm_person"),
    path("people/<str:username>/directory", views.set_person_directory, name="set_person_directory"),
    path("people/<str:username>/expiry", views.set_person_expiry, name="set_person_expiry"),
    path("people/<str:username>/role", views.set_person_role, name="set_person_role"),
    path("people/<str:username>/clearance", views.set_person_clearance, name="set_person_clearance"),
    path("people/<str:username>/memberships", views.set_person_memberships, name="set_person_memberships"),
    path("p/<slug:project>/members", views.show_members, name="members"),
    path("p/<slug:project>/members/<slug:name>/disable", views.disable_service_account, name="disable_service_account"),
]
