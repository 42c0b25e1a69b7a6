"""The character NUL, which PostgreSQL keeps in no text, in every place of an address that takes one."""

import pytest

pytestmark = pytest.mark.django_db
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


@pytest.mark.parametrize(("path", "who"), PLACES)
def test_it_is_nobodys_fault(path, who, request, project, web):
    assert web(request.getfixturevalue(who)).get(path).status_code in {200, 400, 404, 422}
