"""Addresses of pages: taken apart, made absolute, compared, and matched with patterns."""

import re
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}
SPACE = re.compile(r"[\x00-\x20]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What of a URL decides where a connection goes. `host` in lower case, without brackets; "" where there is none."""

    scheme: str
    host: str
    port: int
    user: bool  # the URL holds a name or a password


def place_of(url: str) -> Place:
    """Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return Place(scheme, (parts.hostname or "").rstrip("."), parts.port or PORTS.get(scheme, 0), "@" in parts.netloc)


def resolve_link(base: str, link: str) -> str | None:
    """`link` as it stands in the page `base`, made absolute, without its fragment; None where it leads to no page."""
    text = SPACE.sub("", link) if len(link) < 4096 else ""
    if not text or text.startswith("#"):
        return None
    try:
        url = urldefrag(urljoin(base, text)).url
        place = place_of(url)
    except ValueError:
        return None
    return url if place.scheme in PORTS and place.host else None


def normalize_url(url: str) -> str:
    """What two spellings of one address have in common: scheme and host in lower case, the usual port left out."""
    parts = urlsplit(urldefrag(url).url)
    place = place_of(url)
    port = "" if place.port == PORTS.get(place.scheme) else f":{place.port}"
    return parts._replace(scheme=place.scheme, netloc=f"{place.host}{port}", path=parts.path or "/").geturl()


def matches_pattern(pattern: str, url: str) -> bool:
    """Whether the pattern fits: * stands for any characters, and without one the text is to be found somewhere.

    The empty pattern fits every URL. Greedy from the left, so the time is linear whatever a person writes.
    """
    if "*" not in pattern:
        return pattern in url
    first, *middle, last = pattern.split("*")
    if not (url.startswith(first) and url.endswith(last)) or len(url) < len(first) + len(last):
        return False
    at, end = len(first), len(url) - len(last)
    for part in middle:
        index = url.find(part, at, end)
        if index < 0:
            return False
        at = index + len(part)
    return True
