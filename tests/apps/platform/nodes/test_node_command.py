import pytest
from django.core.management import CommandError, call_command

from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db


def run(capsys, *words, **options):
    call_command("node", *words, **options)
    return capsys.readouterr().out


def test_drains_labels_measures_and_releases(node, capsys, tmp_path):
    assert run(capsys, "drain", "gpu-01", reason="fan") == "gpu-01 takes no new jobs; 0 left to end\n"
    assert Node.objects.get().held_reason == "fan"
    assert "already" in run(capsys, "drain", "gpu-01", reason="fan")
    assert run(capsys, "release", "gpu-01") == "gpu-01 takes jobs again\n"
    assert "0 left to end" in run(capsys, "cordon", "gpu-01", reason="fan")
    assert run(capsys, "label", "gpu-01", "rack=3", "nvme") == "gpu-01: nvme, rack=3\n"
    assert "of the reference, 6.5 GB/s" in run(capsys, "measure-disk", "gpu-01", folder=tmp_path)
    assert Node.objects.get().disk_speed["bytes"] > 0


def test_bad_words_end_with_2_and_no_trace(node, capsys):
    for words in ("release", "gpu-01"), ("cordon", "gpu-01"), ("label", "gpu-01", "a b=c=d"), ("drain", "gpu-09"):
        with pytest.raises(CommandError) as caught:
            run(capsys, *words)
        assert caught.value.returncode == 2, words
