"""The character NUL, which PostgreSQL keeps in no text, in every place of an address that takes one."""

import pytest
from django.db import transaction

pytestmark = [pytest.mark.django_db, pytest.mark.services]
V1 = "/api/v1"
PLACES = [
    (V1 + "/users/a%00", "sysadmin"),
    ("/people?q=%00", "sysadmin"),
    ("/people/a%00", "sysadmin"),
    (V1 + "/nodes/a%00", "engineer"),
    (V1 + "/nodes?q=%00", "engineer"),
    ("/nodes?q=%00", "engineer"),
    (V1 + "/projects/demo/datasets?q=%00", "engineer"),
    (V1 + "/projects/demo/datasets/a%00", "engineer"),
    (V1 + "/projects/demo/datasets/a%00/versions/1", "engineer"),
    (V1 + "/projects/demo/jobs?name=%00&requester=%00", "engineer"),
    (V1 + "/audit/records?actor=%00", "auditor"),
    ("/audit/object/job/%00", "auditor"),
    ("/p/demo/data?q=%00", "engineer"),
    ("/p/demo/jobs?name=%00", "engineer"),
]


def test_nul_is_no_server_error(request, project, web):
    clients = {who: web(request.getfixturevalue(who)) for _, who in PLACES}
    statuses = {}
    for path, who in PLACES:
        clients[who].raise_request_exception = False
        with transaction.atomic():  # a failed query breaks the transaction around it
            statuses[path] = clients[who].get(path).status_code
    assert {path: status for path, status in statuses.items() if status not in {200, 400, 404, 422}} == {}
