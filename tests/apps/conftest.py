import pytest


@pytest.fixture
def browser(web):
    """The other name of `web`; below this folder nobody drives a real browser, whose fixture has this name."""
    return web
