"""Every write of bundles: building them, receiving, checking, applying; and whose signatures count."""

from apps.site.transfer.services.cancellation import cancel_build, cancel_step, discard_bundle, retry_step
from apps.site.transfer.services.checking import check_bundle
from apps.site.transfer.services.driving import drive_bundles, sweep_bundles
from apps.site.transfer.services.incoming import (
    accept_plane_contents,
    approve_bundle,
    receive_envelope,
    receive_volume,
    request_application,
    request_check,
)
from apps.site.transfer.services.loading import load_bundle
from apps.site.transfer.services.outgoing import build_bundle, remove_bundle, request_bundle, retry_bundle
from apps.site.transfer.services.signers import propose_signer, revoke_signer, trust_signer

__all__ = [
    "accept_plane_contents",
    "approve_bundle",
    "build_bundle",
    "cancel_build",
    "cancel_step",
    "check_bundle",
    "discard_bundle",
    "drive_bundles",
    "load_bundle",
    "propose_signer",
    "receive_envelope",
    "receive_volume",
    "remove_bundle",
    "request_application",
    "request_bundle",
    "request_check",
    "retry_bundle",
    "retry_step",
    "revoke_signer",
    "sweep_bundles",
    "trust_signer",
]
