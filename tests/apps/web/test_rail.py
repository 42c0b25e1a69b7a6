"""The sections of the rail: what a role may open, and nothing else."""

import re

import pytest

pytestmark = pytest.mark.services
LINK = re.compile(r'<a href="([^"]+)" title="[^"]+"')
OF_A_PROJECT = {"approvals", "data", "jobs", "experiments", "runs", "models", "endpoints"}
OF_A_PROJECT |= {"monitors", "devices", "rollouts"}


def list_sections(client, address: str) -> set[str]:
    rail = client.get(address).content.decode().partition('<nav class="rail"')[2].partition("</nav>")[0]
    return {link.rpartition("/")[2] for link in LINK.findall(rail)} - {""}


@pytest.mark.parametrize(
    ("who", "address", "sections"),
    [
        ("viewer", "/p/demo/", OF_A_PROJECT | {"nodes", "packages", "audit"}),
        ("viewer", "/", OF_A_PROJECT | {"nodes", "packages", "audit"}),
        ("auditor", "/p/demo/", {"approvals", "nodes", "schedules", "packages", "people", "audit"}),
        ("secadmin", "/", {"schedules", "packages", "people"}),
        ("sysadmin", "/", {"nodes", "schedules", "packages", "people"}),
    ],
)
def test_a_role_is_led_to_what_it_may_open(who, address, sections, request, web, project):
    client = web(request.getfixturevalue(who))
    assert list_sections(client, address) == sections


def test_every_section_opens(viewer, web, project):
    client = web(viewer)
    rail = client.get("/p/demo/").content.decode().partition('<nav class="rail"')[2].partition("</nav>")[0]
    addresses = LINK.findall(rail)
    assert {address: client.get(address).status_code for address in addresses} == dict.fromkeys(addresses, 200)


def test_a_phone_has_four_sections_and_the_rest_under_more(auditor, web, project):
    rail = web(auditor).get("/").content.decode().partition('<nav class="rail"')[2].partition("</nav>")[0]
    items = re.findall(r'<li class="([^"]*)"', rail.partition('class="more"')[0])
    assert sum("opt" not in item.split() for item in items) == 4
