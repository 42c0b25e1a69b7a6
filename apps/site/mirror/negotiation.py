"""Which form of a page of the index a client takes (PEP 691): its Accept header, q-values and all."""

from __future__ import annotations

JSON_V1 = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"
# What a client may name -> what it is sent, the preferred one first.
FORMS = {
    JSON_V1: JSON_V1,
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    HTML_V1: HTML_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
    HTML: HTML,
}
MAX_RANGES = 50  # of a header


def choose_form(accept: str) -> str:
    """The media type to answer with; HTML where the header is empty or names nothing that there is."""
    qualities = parse_accept(accept)
    best, best_quality = HTML, 0.0
    for name, form in FORMS.items():
        quality = qualities.get(name, 0.0)
        if quality > best_quality:
            best, best_quality = form, quality
    wildcard = max(qualities.get(name, 0.0) for name in ("*/*", "text/*", "application/*"))
    return best if best_quality >= wildcard else HTML


def parse_accept(accept: str) -> dict[str, float]:
    """Media range -> quality; what cannot be read counts as refused."""
    qualities: dict[str, float] = {}
    for part in accept.split(",")[:MAX_RANGES]:
        name, *params = (piece.strip() for piece in part.lower().split(";"))
        quality = 1.0
        for param in params:
            key, _, value = param.partition("=")
            if key.strip() == "q":
                quality = parse_quality(value.strip())
        if name:
            qualities[name] = quality
    return qualities


def parse_quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
