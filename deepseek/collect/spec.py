"""The spec of collecting records from sites. Light to import: the web process reads it."""

import zoneinfo
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from deepseek.collect.hosts import Hosts, find_uncovered, parse_entry
from deepseek.collect.pages_spec import SELECTOR, PageSpec, Selector
from deepseek.collect.urls import PORTS, place_of
from deepseek.quality.expectations_spec import MAX_EXPECTATIONS, Expectation
from deepseek.spec_errors import build_spec_error

__all__ = ["CollectSpec", "find_uncovered"]

WITHHELD = ("cookie", "host", "content-length", "connection", "transfer-encoding", "te", "upgrade", "user-agent")
SECRET_WORDS = ("token", "secret", "password", "api-key", "apikey", "session", "credential", "auth")


def _check_url(url: str) -> str:
    try:
        place = place_of(url)
    except ValueError:
        raise build_spec_error("url", "This is no address of a page.") from None
    if place.scheme not in PORTS or not place.host:
        raise build_spec_error("url", "An address of a page begins with http:// or https:// and names a host.")
    if place.user:
        raise build_spec_error("url_secret", "An address may hold no user name or password: specs are kept for ever.")
    return url


def _check_host(text: str) -> str:
    try:
        parse_entry(text)
    except ValueError as failure:
        raise build_spec_error("host", "{why}", why=str(failure)) from None
    return text


Url = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_check_url)]
HostEntry = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_check_host)]
UrlPattern = Annotated[str, Field(min_length=1, max_length=500)]


class FollowSpec(BaseModel):
    """Which links are followed from the pages that were fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    next: Selector = Field(
        "",
        title="Next page",
        description=f"{SELECTOR} The link to the next page of a list; it counts as no step away from the start.",
    )
    links: Selector = Field(
        "",
        title="Links",
        description=f"{SELECTOR} The links, or what holds them, that are followed; empty for none.",
    )
    include: list[UrlPattern] = Field(
        default=[],
        max_length=100,
        title="Only",
        description=("Address patterns, * for any characters; a link is followed if one matches. Empty: any link."),
    )
    exclude: list[UrlPattern] = Field(
        default=[], max_length=100, title="Never", description="Patterns of addresses that are not followed."
    )
    max_depth: int = Field(
        3,
        ge=0,
        le=1000,
        title="Depth",
        description="Links between a start address and a page, at most.",
        json_schema_extra={"unit": "links"},
    )


class RateSpec(BaseModel):
    """Request rate per host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_second: float = Field(
        2.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        title="Rate",
        description="Requests to one host, at most.",
        json_schema_extra={"unit": "requests per second"},
    )
    concurrency: int = Field(
        2,
        ge=1,
        le=64,
        title="At once",
        description="Requests that one host works on at the same time, at most.",
        json_schema_extra={"unit": "requests"},
    )
    autothrottle: bool = Field(
        True, title="Throttle", description="Go slower than the rate where the host answers slowly."
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        title="Tries again",
        description="Retries for a page whose server failed, was busy or did not answer.",
        json_schema_extra={"unit": "tries"},
    )


class RobotsSpec(BaseModel):
    """What robots.txt of a host counts for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    obey: bool = Field(True, title="Obey", description="Leave out the pages that robots.txt of their host forbids.")
    reason: str = Field(
        "",
        max_length=500,
        title="Reason",
        description="Why robots.txt is ignored, and who permitted it; stored with the job.",
    )

    @model_validator(mode="after")
    def _require_reason(self) -> Self:
        if not self.obey and len(self.reason.strip()) < 10:
            raise build_spec_error(
                "needs_reason", "Not to obey robots.txt needs a reason of at least 10 characters: by whose leave?"
            )
        return self


class LimitsSpec(BaseModel):
    """Where a collection ends in any case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pages: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        title="Pages",
        description="Addresses that are asked for, at most, in the order in which they were found.",
        json_schema_extra={"unit": "pages"},
    )
    max_records: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        title="Records",
        description="Records that are kept, at most; empty for any number.",
        json_schema_extra={"unit": "records"},
    )
    max_page_bytes: int = Field(
        10_000_000,
        ge=1000,
        le=1_000_000_000,
        title="Page size",
        description="A larger page is not read to its end, and counts as failed.",
        json_schema_extra={"unit": "bytes"},
    )
    max_total_bytes: int = Field(
        1_000_000_000,
        ge=1000,
        le=1_000_000_000_000,
        title="Together",
        description="All pages together; the collection ends there with what it has.",
        json_schema_extra={"unit": "bytes"},
    )
    max_seconds: float = Field(
        3000.0,
        ge=1,
        le=2_592_000,
        allow_inf_nan=False,
        title="Time",
        description="The collection ends after so long with what it has; keep it below the job's time limit.",
        json_schema_extra={"unit": "s"},
    )
    page_seconds: float = Field(
        30.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        title="Page time",
        description="How long one page may take, its wait in the browser included.",
        json_schema_extra={"unit": "s"},
    )
    max_failed: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        title="Failed pages",
        description="The job fails if more pages than this cannot be fetched; empty: unless one can.",
        json_schema_extra={"unit": "pages"},
    )


class HeaderSpec(BaseModel):
    """A header that goes with every request. No secrets: a spec is kept for ever, for all of the project to read."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Header")

    name: str = Field(
        pattern=r"^[A-Za-z0-9-]+$",
        max_length=100,
        title="Name",
        description="Name of the header, such as Accept-Language.",
    )
    value: str = Field(
        pattern=r"^[\x20-\x7e]*$", max_length=1000, title="Value", description="Its value, in ASCII characters."
    )

    @field_validator("name")
    @classmethod
    def _refuse_secrets(cls, name: str) -> str:
        if name.lower() in WITHHELD or any(word in name.lower() for word in SECRET_WORDS):
            raise build_spec_error("header_withheld", "The header {name} cannot be set here.", name=name)
        return name


class CollectSpec(BaseModel):
    """Collect records from sites: only hosts that the operator allows, at a rate that does them no harm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_urls: list[Url] = Field(
        min_length=1,
        max_length=1000,
        title="Start addresses",
        description="The pages that are fetched first, in this order.",
    )
    allowed_hosts: list[HostEntry] = Field(
        min_length=1,
        max_length=100,
        title="Allowed hosts",
        description=(
            "Hosts that pages and whatever they load may come from, all within the operator's list: a name, "
            "*.name for those below it, an address or a network, with :port to bind it to one."
        ),
    )
    pages: list[PageSpec] = Field(
        min_length=1,
        max_length=50,
        title="Pages",
        description="What is read from which pages.",
    )
    follow: FollowSpec = Field(
        default=FollowSpec(), title="Links", description="Which links are followed from the pages that were fetched."
    )
    rate: RateSpec = Field(default=RateSpec(), title="Rate", description="Request rate per host.")
    robots: RobotsSpec = Field(
        default=RobotsSpec(), title="robots.txt", description="What robots.txt of a host counts for."
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), title="Limits", description="Where a collection ends in any case.")
    user_agent: str = Field(
        "deepseek-offline-collect",
        min_length=1,
        max_length=200,
        pattern=r"^[\x20-\x7e]+$",
        title="User agent",
        description="What the collection calls itself to the hosts, and in robots.txt; name whom to ask.",
    )
    headers: list[HeaderSpec] = Field(
        default=[], max_length=50, title="Headers", description="Further headers of every request; no secrets."
    )
    time_zone: str = Field(
        "UTC",
        max_length=64,
        title="Time zone",
        description="Of dates that name none, such as Asia/Shanghai.",
    )
    expectations: list[Expectation] = Field(
        default=[],
        max_length=MAX_EXPECTATIONS,
        title="Expectations",
        description=(
            "Expectations for the records: if one of severity error fails, the job fails and creates nothing."
        ),
    )
    keep_bodies: bool = Field(
        False, title="Keep pages", description="Keep what was fetched as a ZIP archive, a file for each page."
    )

    @property
    def extra(self) -> str:
        """What a node must have beyond the core, by the names that a worker reports."""
        return "collect-browser" if any(page.render == "browser" for page in self.pages) else "collect"

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, zone: str) -> str:
        try:
            zoneinfo.ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise build_spec_error("time_zone", "There is no time zone of this name.") from None
        return zone

    @field_validator("headers")
    @classmethod
    def _check_unique_headers(cls, headers: list[HeaderSpec]) -> list[HeaderSpec]:
        names = [header.name.lower() for header in headers]
        if len(set(names)) < len(names):
            raise build_spec_error("repeated", "A header is named twice.")
        return headers

    @model_validator(mode="after")
    def _check_start_urls(self) -> Self:
        hosts = Hosts(self.allowed_hosts)
        for url in self.start_urls:
            place = place_of(url)
            if not hosts.is_allowed(place.host, place.port):
                raise build_spec_error(
                    "start_not_allowed",
                    "The start address {url} is of the host {host}, which the allowed hosts do not name.",
                    url=url,
                    host=place.host,
                )
        return self

    @model_validator(mode="after")
    def _check_field_types(self) -> Self:
        kinds: dict[str, str] = {}
        for page in self.pages:
            for field in page.fields:
                kind = field.type if field.type in ("number", "date") else "text"
                if kinds.setdefault(field.name, kind) != kind:
                    raise build_spec_error(
                        "field_types", "The field {name} has two types on two sorts of pages.", name=field.name
                    )
        if not kinds:
            raise build_spec_error("no_fields", "No page has a field: there would be no records.")
        return self
