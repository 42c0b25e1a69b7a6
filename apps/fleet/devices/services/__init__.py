"""Every write of devices: by people, by the devices themselves, by the dispatcher."""

from apps.fleet.devices.services.assignments import assign_release, cancel_assignment
from apps.fleet.devices.services.bulk import (
    assign_releases,
    cancel_assignments,
    lock_devices,
    quarantine_devices,
)
from apps.fleet.devices.services.bulk_assignments import BulkAssignments, assign_release_to_devices
from apps.fleet.devices.services.changes import (
    change_device,
    quarantine_device,
    reinstate_device,
    report_attributes,
    revoke_device,
)
from apps.fleet.devices.services.enrolment import admit_gateway_device, enrol_device, register_device
from apps.fleet.devices.services.enrolment_tokens import create_enrolment_token, revoke_enrolment_token
from apps.fleet.devices.services.groups import create_group, delete_group, update_group
from apps.fleet.devices.services.presence import note_presence
from apps.fleet.devices.services.receipts import record_receipt, record_unsigned_result
from apps.fleet.devices.services.reports import (
    expire_assignments,
    mark_fetched,
    record_status,
    reject_cancellation,
)
from apps.fleet.devices.services.restoration import skip_issued_numbers
from apps.fleet.devices.services.sources import ensure_source
from apps.fleet.devices.services.telemetry import flush_telemetry, note_poll, record_heartbeat

__all__ = [
    "BulkAssignments",
    "admit_gateway_device",
    "assign_release",
    "assign_release_to_devices",
    "assign_releases",
    "cancel_assignment",
    "cancel_assignments",
    "change_device",
    "create_enrolment_token",
    "create_group",
    "delete_group",
    "enrol_device",
    "ensure_source",
    "expire_assignments",
    "flush_telemetry",
    "lock_devices",
    "mark_fetched",
    "note_poll",
    "note_presence",
    "quarantine_device",
    "quarantine_devices",
    "record_heartbeat",
    "record_receipt",
    "record_status",
    "record_unsigned_result",
    "register_device",
    "reinstate_device",
    "reject_cancellation",
    "report_attributes",
    "revoke_device",
    "revoke_enrolment_token",
    "skip_issued_numbers",
    "update_group",
]
