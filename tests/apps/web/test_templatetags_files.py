"""What the content policy and the sprite promise, checked over every template and static file."""

import gzip
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import get_template

TEMPLATES = (
    Path(settings.BASE_DIR if hasattr(settings, "BASE_DIR") else settings.STATICFILES_DIRS[0].parent) / "templates"
)
STATIC = Path(settings.STATICFILES_DIRS[0])
SOURCES = {str(path.relative_to(TEMPLATES)): path.read_text() for path in sorted(TEMPLATES.rglob("*.html"))}
SPRITE = set(re.findall(r'<symbol id="i-([a-z]+)"', (STATIC / "icons.svg").read_text()))
FORBIDDEN = re.compile(
    r"""\sstyle\s*=|<style|\son[a-z]+\s*=\s*["']|javascript:|hx-on"""
    r"""|(?:src|href)=["'](?:https?:)?//"""
    r"""|<script\b(?![^>]*(?:src=|application/json))[^>]*>"""
)


def compile_error(name: str) -> str:
    try:
        get_template(name)
    except Exception as error:
        return repr(error)
    return ""


def test_templates_compile() -> None:
    errors = {name: compile_error(name) for name in SOURCES}
    assert {name: error for name, error in errors.items() if error} == {}


def test_templates_fit_the_content_policy() -> None:
    """No inline styles, handlers or scripts (but JSON), nothing from another host."""
    matches = {name: FORBIDDEN.findall(source) for name, source in SOURCES.items()}
    assert {name: texts for name, texts in matches.items() if texts} == {}


def test_icons_exist() -> None:
    unknown = {name: set(re.findall(r'{% icon "([a-z]+)"', source)) - SPRITE for name, source in SOURCES.items()}
    assert {name: icons for name, icons in unknown.items() if icons} == {}


def test_every_state_has_an_icon() -> None:
    from apps.web.templatetags.base_tags import STATES
    from apps.web.templatetags.rail_links import RAIL

    assert {glyph for _, glyph, _ in STATES.values()} | {glyph for _, _, glyph, _ in RAIL} <= SPRITE


@pytest.mark.parametrize(("pattern", "limit"), [("css/*.css", 14_000), ("js/*.js", 33_000), ("icons.svg", 4_000)])
def test_static_files_stay_small(pattern: str, limit: int) -> None:
    """As gzip sends them: the white space of the formatter costs nobody anything."""
    assert 0 < sum(len(gzip.compress(path.read_bytes())) for path in STATIC.glob(pattern)) < limit


def test_home_is_small_over_the_wire(web, engineer) -> None:
    """What the acceptance promises of home in all: the page and every file that it names, as gzip sends them."""
    page = web(engineer).get("/").content.decode()
    names = set(re.findall(r'(?:src|href)="/static/([^"#?]+)', page))
    assert {"css/components.css", "js/plane.js", "icons.svg"} <= names
    files = [Path(finders.find(name)).read_bytes() for name in names]
    assert sum(len(gzip.compress(one)) for one in (page.encode(), *files)) < 120_000


def test_colours_stand_only_in_the_tokens() -> None:
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?=[;\s}])|rgba?\(", (STATIC / "css/components.css").read_text())


def test_every_colour_stands_for_both_themes() -> None:
    source = (STATIC / "css/tokens.css").read_text()
    bare = re.sub(r"light-dark\((?:[^()]|\([^()]*\))*\)", "", source)
    assert re.findall(r"(--[\w-]+):[^;]*(?:#[0-9a-f]{3}|rgba?\()", bare) == ["--paper"]


def test_no_eval_in_the_scripts() -> None:
    for path in (STATIC / "js").glob("*.js"):
        assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", path.read_text())


def test_translation_is_complete() -> None:
    catalogue = (STATIC.parent / "locale/zh_Hans/LC_MESSAGES/django.po").read_text()
    entries = catalogue.split("\n\n")[1:]
    blank = [
        entry for entry in entries if re.search(r'msgstr(?:\[0\])? ""$(?!\n")', entry, re.M) or "#, fuzzy" in entry
    ]
    assert not blank
