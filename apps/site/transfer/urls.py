"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.site.transfer import views

app_name = "transfer"
urlpatterns = [
    path("transfer", views.show_overview, name="overview"),
    path("transfer/build", views.show_build, name="build"),
    path("transfer/receive", views.show_receive, name="receive"),
    path("transfer/signers", views.show_signers, name="signers"),
    path("transfer/signers/<int:pk>/revoke", views.revoke_signer, name="revoke"),
    path("transfer/inventory", views.download_inventory, name="inventory"),
    path("transfer/outgoing/<int:pk>", views.show_outgoing, name="outgoing"),
    path("transfer/outgoing/<int:pk>/progress", views.show_outgoing_progress, name="outgoing-progress"),
    path("transfer/incoming/<int:pk>/progress", views.show_incoming_progress, name="incoming-progress"),
    path("transfer/incoming/<int:pk>", views.show_incoming, name="incoming"),
]
