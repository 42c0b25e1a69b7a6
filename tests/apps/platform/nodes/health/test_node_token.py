import pytest
from django.core.management import call_command

from apps.core.errors import Conflict, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.health.services import issue_node_token, revoke_node_token
from apps.platform.nodes.models import NodeToken

pytestmark = pytest.mark.django_db


def test_a_system_administrator_issues_one_and_its_secret_is_kept_nowhere(actor_for, sysadmin, node):
    secret = issue_node_token(actor=actor_for(sysadmin), node=node)
    token = NodeToken.objects.get()
    assert secret.startswith("dsn_")
    assert secret not in (token.digest, token.prefix)
    assert secret not in AuditRecord.objects.get(action="node.issue_token").body


@pytest.mark.parametrize("who", ["viewer", "engineer", "approver", "auditor", "secadmin"])
def test_others_are_refused(request, actor_for, node, who):
    actor = actor_for(request.getfixturevalue(who))
    for service in (issue_node_token, revoke_node_token):
        with pytest.raises(Refused):
            service(actor=actor, node=node)
    assert not NodeToken.objects.exists()


def test_it_is_revoked_once(operator, node):
    issue_node_token(actor=operator, node=node)
    revoke_node_token(actor=operator, node=node)
    with pytest.raises(Conflict):
        revoke_node_token(actor=operator, node=node)


def test_the_command_prints_the_secret_alone_on_standard_output(node, capsys):
    call_command("node_token", "gpu-01")
    assert capsys.readouterr().out.strip().startswith("dsn_")
    call_command("node_token", "gpu-01", "--revoke")
    with pytest.raises(SystemExit) as left:
        call_command("node_token", "nowhere")
    assert left.value.code == 2


def test_no_api_token_issues_one(api, viewer, node):
    assert api(viewer).post("/api/v1/nodes/gpu-01/token").status_code == 403
    assert api(viewer).delete("/api/v1/nodes/gpu-01/token").status_code == 403
