"""Every write of releases: keys by the operator, releases by people, both signed."""

from apps.fleet.releases.services.issuing import issue_release, revoke_release, revoke_releases
from apps.fleet.releases.services.keys import create_key, revoke_key, rotate_key
from apps.fleet.releases.services.restoration import skip_issued_sequences
from apps.fleet.releases.services.samples import request_samples

__all__ = [
    "create_key",
    "issue_release",
    "request_samples",
    "revoke_key",
    "revoke_release",
    "revoke_releases",
    "rotate_key",
    "skip_issued_sequences",
]
