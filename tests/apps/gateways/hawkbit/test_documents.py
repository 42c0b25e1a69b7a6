"""The documents that devices read, built from plain values."""

from __future__ import annotations

from apps.gateways.hawkbit.documents import (
    Chunk,
    OfferedFile,
    build_artifact,
    build_base,
    build_cancel_action,
    build_deployment,
    format_sleep,
)

FILE = OfferedFile("net.swu", 12, "5" * 40, "d" * 32, "2" * 64, "http://plane/x/net.swu")
CHUNK = Chunk("application", "net", "3", [FILE], {"variant": "int8"})


def test_sleep_is_a_time_of_day():
    cells = {0: "00:00:01", 5: "00:00:05", 300: "00:05:00", 3661: "01:01:01", 86_399: "23:59:59", 10**9: "23:59:59"}
    assert {seconds: format_sleep(seconds) for seconds in cells} == cells


def test_base_names_what_there_is_to_do():
    assert build_base(300, {}) == {"config": {"polling": {"sleep": "00:05:00"}}, "_links": {}}
    base = build_base(300, {"deploymentBase": "http://plane/d/1?c=2"})
    assert base["_links"] == {"deploymentBase": {"href": "http://plane/d/1?c=2"}}


def test_artifact_has_plain_links_for_https_alone():
    assert build_artifact(FILE) == {
        "filename": "net.swu",
        "hashes": {"sha1": "5" * 40, "md5": "d" * 32, "sha256": "2" * 64},
        "size": 12,
        "_links": {
            "download-http": {"href": "http://plane/x/net.swu"},
            "md5sum-http": {"href": "http://plane/x/net.swu.MD5SUM"},
        },
    }
    encrypted = OfferedFile("net.swu", 12, "", "", "", "https://plane/x/net.swu")
    assert set(build_artifact(encrypted)["_links"]) == {"download", "md5sum"}


def test_deployment():
    document = build_deployment(7, [CHUNK])
    assert document["id"] == "7"
    deployment = document["deployment"]
    assert (deployment["download"], deployment["update"]) == ("forced", "forced")
    assert "maintenanceWindow" not in deployment
    [chunk] = deployment["chunks"]
    assert (chunk["part"], chunk["name"], chunk["version"]) == ("bApp", "net", "3")
    assert chunk["metadata"] == [{"key": "variant", "value": "int8"}]
    assert len(chunk["artifacts"]) == 1
    assert "actionHistory" not in document


def test_outside_the_window_a_device_downloads_and_waits():
    closed, open_now = (build_deployment(7, [CHUNK], is_window_open=state)["deployment"] for state in (False, True))
    assert (closed["download"], closed["update"], closed["maintenanceWindow"]) == ("forced", "skip", "unavailable")
    assert (open_now["update"], open_now["maintenanceWindow"]) == ("forced", "available")


def test_history_only_where_it_was_wanted():
    document = build_deployment(7, [CHUNK], history=["b", "a"], status="RUNNING")
    assert document["actionHistory"] == {"status": "RUNNING", "messages": ["b", "a"]}


def test_ids_of_a_cancelling_are_texts():
    assert build_cancel_action(7) == {"id": "7", "cancelAction": {"stopId": "7"}}
