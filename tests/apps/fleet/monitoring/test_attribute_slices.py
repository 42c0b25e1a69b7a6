"""A window by group and attribute of the devices that answered."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.fleet.devices.models import Device, DeviceGroup, DeviceLabel
from apps.fleet.monitoring.figures import filter_hours, read_attribute_slices, read_slices
from apps.ml.observations.models import ObservationSource
from tests.apps.fleet.monitoring.conftest import NOON


@pytest.mark.django_db
def test_devices_of_a_group_and_of_an_attribute_are_added_up(create, answer, project):
    monitor = create()
    for number, (right, site) in enumerate([(90, "berlin"), (70, "berlin"), (50, "ulm")]):
        source = ObservationSource.objects.create(project=project, name=f"d{number}", task="classification")
        facts = {"project": project, "name": f"d{number}", "token_digest": str(number) * 64, "created_by": "x"}
        device = Device.objects.create(source=source, **facts)
        DeviceLabel.objects.create(device=device, project=project, kind="tag", key="site", value=site)
        answer(NOON - timedelta(hours=1), right, 100 - right, to=source)
    for name, query in (("all", "name like 'd%'"), ("second", "name = 'd1'")):
        DeviceGroup.objects.create(project=project, name=name, query=query, created_by="x")
    rows = filter_hours(monitor, NOON - timedelta(hours=1), NOON)
    slices = read_attribute_slices(monitor, rows, read_slices(monitor, rows, "source_id"))
    found = {part.key: (part.figures.scored, round(part.estimate.value, 2)) for part in slices}
    assert found == {"site=berlin": (200, 0.8), "site=ulm": (100, 0.5), "all": (300, 0.7), "second": (100, 0.7)}
