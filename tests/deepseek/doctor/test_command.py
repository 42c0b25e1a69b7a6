"""The command line, on the captured GPU node."""

import json

import pytest

from deepseek.doctor.command import main
from tests.deepseek.doctor.conftest import TREE

REPLAY = ("--replay", str(TREE), "--settings", str(TREE / "site.toml"))


def test_json_names_each_of_127_checks_with_verdict_why_and_remedy(capsys):
    assert main([*REPLAY, "--format", "json", "--level", "3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["checks"]) == 127 == sum(document["counts"].values())
    assert all({"id", "group", "verdict", "why", "remedy"} <= set(row) for row in document["checks"])


def test_a_level_leaves_out_what_is_measured_at_a_higher_one(capsys):
    main([*REPLAY, "--format", "json", "disk.fsync", "gpu.memtest"])
    rows = json.loads(capsys.readouterr().out)["checks"]
    assert [row["verdict"] for row in rows] == ["not_applicable", "not_applicable"]
    assert "level 2" in rows[0]["why"]
    assert "level 3" in rows[1]["why"]


def test_text_has_a_line_for_each_group_and_the_remedy_of_what_failed(capsys, tmp_path):
    settings = tmp_path / "site.toml"
    settings.write_text("[mem.total]\nmin_bytes = 1_000_000_000_000\n")
    assert main(["--replay", str(TREE), "--settings", str(settings), "mem", "cpu.count"]) == 3
    text = capsys.readouterr().out
    assert "FAIL mem.total" in text
    assert "Look for the lost module" in text
    assert "Required for jobs, and failed: mem.total." in text


def test_html_is_one_page_that_loads_nothing(capsys):
    main([*REPLAY, "--format", "html"])
    page = capsys.readouterr().out
    assert page.count("<td class=") == 127
    assert "<script" not in page
    assert "src=" not in page


def test_list_prints_what_there_is_without_measuring(capsys):
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 127
    main(["--list", "--format", "json", "gpu.xid"])
    (row,) = json.loads(capsys.readouterr().out)["checks"]
    assert row["thresholds"]["fail_codes"]


def test_exit_codes_tell_warnings_from_failures(capsys):
    assert main(["--replay", str(TREE), "mem.oom"]) == 0
    assert main(["--replay", str(TREE), "py.vulns"]) == 0  # not applicable: no feed is named
    assert main(["--replay", str(TREE), "cpu.count"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[mem.total]\nmin_bytes = 'much'\n", "mem.total.min_bytes"),
        ("[mem.total]\nother = 1\n", "mem.total.other"),
        ("[mem.nothing]\na = 1\n", "mem.nothing"),
        ("[cpu.count]\nlevel = 9\n", "cpu.count.level"),
        ("mem = 3\n", "mem"),
        ("not toml", "it is no TOML"),
    ],
)
def test_settings_at_fault_end_with_2_and_name_the_field(text, field, capsys, tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(text)
    assert main(["--settings", str(path), "--list"]) == 2
    assert field in capsys.readouterr().err


def test_an_unknown_check_and_a_missing_folder_end_with_2(capsys, tmp_path):
    assert main(["gpu.xdi"]) == 2
    assert main(["--replay", str(tmp_path)]) == 2
    assert main(["--root", str(tmp_path / "none")]) == 2
    assert main(["--capture", str(tmp_path), "cpu.count"]) == 2
    assert "deepseek-doctor --list" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["--level", "4"])
    assert left.value.code == 2


def test_what_was_captured_is_replayed_with_the_same_verdicts(capsys, tmp_path):
    checks = ("cpu.count", "mem.total", "disk.atomic", "os.seccomp", "net.links", "gpu.count")
    code = main(["--capture", str(tmp_path / "tree"), "--format", "json", *checks])
    live = json.loads(capsys.readouterr().out)["checks"]
    assert main(["--replay", str(tmp_path / "tree"), "--format", "json", *checks]) == code
    again = json.loads(capsys.readouterr().out)["checks"]
    assert [(row["id"], row["verdict"], row["why"]) for row in live] == [
        (row["id"], row["verdict"], row["why"]) for row in again
    ]


def test_a_command_that_hangs_is_unknown_and_a_defect_ends_no_other_check(examine, monkeypatch):
    from tests.deepseek.doctor.mutations import Mutation

    finding = examine("cpu.steal", Mutation({"$ probe cpu_steal 1": "exit 124\n"})).finding
    assert (finding.verdict, "did not answer" in finding.why) == ("unknown", True)
    finding = examine("cpu.steal", Mutation({"$ probe cpu_steal 1": 'exit 0\n{"other": 1}'})).finding
    assert finding.verdict == "unknown"
    finding = examine("cpu.steal", Mutation({"$ probe cpu_steal 1": "exit 1\nTraceback"})).finding
    assert finding.verdict == "unknown"


def test_a_command_that_runs_too_long_is_ended():
    from deepseek.doctor.findings import Unmeasured
    from deepseek.doctor.host import run_command

    with pytest.raises(Unmeasured):
        run_command(["sleep", "60"], 0.2)
    assert run_command(["no-such-program-of-ours"], 1).is_missing
