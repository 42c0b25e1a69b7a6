"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.devices import lists, views

app_name = "devices"
urlpatterns = [
    path("devices", lists.show_devices, name="list"),
    path("devices/enrolment", lists.show_tokens, name="tokens"),
    path("devices/enrolment/<int:token>/revoke", lists.revoke_token, name="revoke_token"),
    path("devices/groups", lists.show_groups, name="groups"),
    path("devices/groups/<slug:group>/delete", lists.delete_group, name="delete_group"),
    path("devices/<int:device>", views.show_device, name="detail"),
    path("devices/<int:device>/change", views.change_device, name="change"),
    path("devices/<int:device>/assign", views.assign, name="assign"),
    path("devices/<int:device>/assignments/<int:assignment>/cancel", views.cancel, name="cancel"),
    path("devices/<int:device>/quarantine", views.quarantine, name="quarantine"),
    path("devices/<int:device>/reinstate", views.reinstate, name="reinstate"),
    path("devices/<int:device>/revoke", views.revoke, name="revoke"),
]
