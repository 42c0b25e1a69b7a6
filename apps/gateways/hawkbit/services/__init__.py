"""Every write of the device API that is not one of devices: hashes, update files, windows, what clients say."""

from apps.gateways.hawkbit.services.client_states import record_installed, settle_attributes, want_attributes
from apps.gateways.hawkbit.services.file_hashes import find_hashes, hash_file, hash_stored_file
from apps.gateways.hawkbit.services.maintenance_windows import remove_window, set_window
from apps.gateways.hawkbit.services.update_files import attach_update_file

__all__ = [
    "attach_update_file",
    "find_hashes",
    "hash_file",
    "hash_stored_file",
    "record_installed",
    "remove_window",
    "set_window",
    "settle_attributes",
    "want_attributes",
]
