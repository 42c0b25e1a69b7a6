"""The doctor itself against the plane: what it sends is taken, and what it asks for is answered."""

import pytest

from apps.platform.nodes.models import NodeHealthReport
from deepseek.doctor import sending
from deepseek.doctor.command import main
from tests.deepseek.doctor.conftest import TREE

pytestmark = pytest.mark.django_db


@pytest.fixture
def plane(api, node_secret, monkeypatch):
    """The plane's REST in place of a connection."""
    client = api(node_secret)

    class Transport:
        def call(self, method, path, body=None):
            answer = client.get(path) if method == "GET" else client.post(path, body)
            assert answer.status_code < 300, answer.content
            return answer.json()

    monkeypatch.setattr(sending, "open_transport", Transport)


def test_a_report_of_127_checks_is_taken_and_the_node_is_open(plane, node, capsys):
    words = ["--replay", str(TREE), "--settings", str(TREE / "site.toml"), "--node", "gpu-01", "--send"]
    assert main([*words, "--level", "3", "--format", "json"]) == 0
    report = NodeHealthReport.objects.get()
    assert len(report.checks) == 127
    assert report.counts["ok"] == 126
    assert f"sent as report {report.pk}" in capsys.readouterr().err


def test_a_required_check_that_failed_closes_the_node(plane, node, tmp_path, capsys):
    settings = tmp_path / "site.toml"
    settings.write_text("[mem.total]\nmin_bytes = 1_000_000_000_000\n")
    main(["--replay", str(TREE), "--settings", str(settings), "--node", "gpu-01", "--send", "mem.total"])
    assert "the node takes no jobs: mem.total" in capsys.readouterr().err
    node.refresh_from_db()
    assert node.failed_checks == ["mem.total"]


def test_the_registration_is_read_by_the_name_of_the_node(plane, node):
    assert sending.fetch_registration("gpu-01")["memory_bytes"] == node.memory_bytes
