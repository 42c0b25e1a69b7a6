"""Every write of federation: what people do on the coordinator's plane and on a site's, and what jobs report."""

from apps.ml.federation.services.attempts import bind_home, confirm_participation, release_home
from apps.ml.federation.services.ledger import record_ledger_entries
from apps.ml.federation.services.participation import (
    accept_approval,
    bind_data,
    complete_site_study,
    import_study,
    join_study,
    leave_study,
    request_participation,
    store_certificate,
)
from apps.ml.federation.services.results import complete_study, record_round, register_result
from apps.ml.federation.services.studies import (
    create_study,
    enrol_site,
    invite_site,
    remove_site,
    start_study,
    stop_study,
)

__all__ = [
    "accept_approval",
    "bind_data",
    "bind_home",
    "complete_site_study",
    "complete_study",
    "confirm_participation",
    "create_study",
    "enrol_site",
    "import_study",
    "invite_site",
    "join_study",
    "leave_study",
    "record_ledger_entries",
    "record_round",
    "register_result",
    "release_home",
    "remove_site",
    "request_participation",
    "start_study",
    "stop_study",
    "store_certificate",
]
