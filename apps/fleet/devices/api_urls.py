"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.fleet.devices import api

urlpatterns = [
    path("devices", api.DeviceList.as_view(), name="api-devices"),
    path("devices/counts", api.DeviceCounts.as_view(), name="api-device-counts"),
    path("devices/<int:device>", api.DeviceDetail.as_view(), name="api-device"),
    path("devices/<int:device>/quarantine", api.DeviceQuarantine.as_view(), name="api-device-quarantine"),
    path("devices/<int:device>/reinstate", api.DeviceReinstate.as_view(), name="api-device-reinstate"),
    path("devices/<int:device>/revoke", api.DeviceRevoke.as_view(), name="api-device-revoke"),
    path("devices/<int:device>/assignments", api.DeviceAssignments.as_view(), name="api-device-assignments"),
    path("device-groups", api.DeviceGroupList.as_view(), name="api-device-groups"),
    path("device-groups/<slug:group>", api.DeviceGroupDetail.as_view(), name="api-device-group"),
    path("enrolment-tokens", api.EnrolmentTokenList.as_view(), name="api-enrolment-tokens"),
    path("enrolment-tokens/<int:token>/revoke", api.EnrolmentTokenRevoke.as_view(), name="api-enrolment-token-revoke"),
    path("assignments", api.AssignmentList.as_view(), name="api-assignments"),
    path("assignments/<int:assignment>", api.AssignmentDetail.as_view(), name="api-assignment"),
    path("assignments/<int:assignment>/cancel", api.AssignmentCancel.as_view(), name="api-assignment-cancel"),
]
