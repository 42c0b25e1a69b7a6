"""The page that shows every component, in the language of its reader."""

import re

import pytest


@pytest.mark.parametrize(("language", "titles"), [("en", ["Waiting", "Failed"]), ("zh-hans", ["等待中", "失败"])])
def test_a_note_of_each_state_is_called_as_its_badge(web, viewer, language, titles):
    page = web(viewer).get("/components", headers={"Accept-Language": language}).content.decode()
    notes = re.findall(r'<div class="note [a-z]+"[^>]*><svg.*?</svg><div><b>(.*?)</b>', page)
    badges = re.findall(r'<span class="state [a-z]+"><svg.*?</svg><span>(.*?)</span>', page)
    assert len(notes) == 7
    assert set(notes) <= set(badges)
    assert set(titles) <= set(notes)
