"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.site.transfer import api

RECEIVED = "received-bundles/<int:pk>"

urlpatterns = [
    path("bundle-inventory", api.InventoryDetail.as_view(), name="api-bundle-inventory"),
    path("bundles", api.OutgoingList.as_view(), name="api-bundles"),
    path("bundles/<int:pk>", api.OutgoingDetail.as_view(), name="api-bundle"),
    path("bundles/<int:pk>/retry", api.OutgoingRetry.as_view(), name="api-bundle-retry"),
    path("bundles/<int:pk>/cancel", api.OutgoingCancel.as_view(), name="api-bundle-cancel"),
    path("bundles/<int:pk>/manifest", api.OutgoingManifest.as_view(), name="api-bundle-manifest"),
    path("bundles/<int:pk>/volumes/<int:number>", api.OutgoingVolume.as_view(), name="api-bundle-volume"),
    path("received-bundles", api.IncomingList.as_view(), name="api-received-bundles"),
    path(RECEIVED, api.IncomingDetail.as_view(), name="api-received-bundle"),
    path(f"{RECEIVED}/volumes/<int:number>", api.IncomingVolume.as_view(), name="api-received-bundle-volume"),
    path(f"{RECEIVED}/check", api.IncomingCheck.as_view(), name="api-received-bundle-check"),
    path(f"{RECEIVED}/cancel", api.IncomingCancel.as_view(), name="api-received-bundle-cancel"),
    path(f"{RECEIVED}/retry", api.IncomingRetry.as_view(), name="api-received-bundle-retry"),
    path(f"{RECEIVED}/accept", api.IncomingAccept.as_view(), name="api-received-bundle-accept"),
    path(f"{RECEIVED}/apply", api.IncomingApply.as_view(), name="api-received-bundle-apply"),
    path(f"{RECEIVED}/discard", api.IncomingDiscard.as_view(), name="api-received-bundle-discard"),
    path("bundle-signers", api.SignerList.as_view(), name="api-bundle-signers"),
    path("bundle-signers/<int:pk>/revoke", api.SignerRevoke.as_view(), name="api-bundle-signer-revoke"),
]
