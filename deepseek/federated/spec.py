"""What a federated study is, and the specs of its two jobs. Light to import: the web process reads it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

MAX_COLUMNS = 500
MAX_CATEGORIES = 200
MAX_SITES = 100
MAX_ROUNDS = 1000
MAX_PARAMETERS = 50_000_000
FLOAT_BYTES = 4
UPDATE_OVERHEAD_BYTES = 4096
"""What the names, shapes and metadata of an update take beside its weights, at most."""
DIGEST = r"^[0-9a-f]{64}$"
SITE_NAME = r"^[a-z][a-z0-9-]{0,30}$"
SERVER_NAME = "server"
"""Reserved: the name of the coordinating server on the wire and in its certificate."""

STRICT = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
Digest = Annotated[str, Field(pattern=DIGEST)]
SiteName = Annotated[
    str,
    Field(
        pattern=SITE_NAME, title="Site", description="Lower-case letters, digits and hyphens, beginning with a letter."
    ),
]


class ColumnRule(BaseModel):
    """One column that every site's table has, with the same meaning and units."""

    model_config = STRICT

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$", title="Column")
    kind: Literal["number", "category"] = Field(title="Kind")
    low: float | None = Field(
        None,
        allow_inf_nan=False,
        title="Lowest",
        description="Of a number. A value outside the bounds counts as missing.",
    )
    high: float | None = Field(None, allow_inf_nan=False, title="Highest", description="Of a number.")
    categories: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (),
        max_length=MAX_CATEGORIES,
        title="Categories",
        description="Of a category: every value, as text. Another value counts as missing.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "number":
            if self.low is None or self.high is None or self.categories:
                raise build_spec_error(
                    "bad_column", N_("The number {name!r} needs low and high, and no categories."), name=self.name
                )
            if self.low >= self.high:
                raise build_spec_error(
                    "bad_bounds",
                    N_("The lowest value {low} is not below the highest, {high}."),
                    low=self.low,
                    high=self.high,
                )
            return self
        if self.low is not None or self.high is not None or len(self.categories) < 2:
            raise build_spec_error(
                "bad_column", N_("The category {name!r} needs two categories at least, and no bounds."), name=self.name
            )
        refuse_repeated(self.categories)
        return self

    @property
    def inputs(self) -> int:
        """How many inputs of the model the column becomes: a number and whether it is missing, or one per category."""
        return 2 if self.kind == "number" else len(self.categories)


class DataSchema(BaseModel):
    """The table that every site has."""

    model_config = STRICT

    columns: tuple[ColumnRule, ...] = Field(min_length=2, max_length=MAX_COLUMNS, title="Columns")
    target: str = Field(
        min_length=1,
        max_length=200,
        title="Target",
        description="The column to predict: a category with two values, of which the second is the positive one.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_repeated([column.name for column in self.columns])
        target = next((column for column in self.columns if column.name == self.target), None)
        if target is None:
            raise build_spec_error("bad_target", N_("The target {name!r} is not a column."), name=self.target)
        if target.kind != "category" or len(target.categories) != 2:
            raise build_spec_error(
                "bad_target", N_("The target {name!r} has to be a category with two values."), name=self.target
            )
        return self

    @property
    def features(self) -> tuple[ColumnRule, ...]:
        """The columns but the target, in order."""
        return tuple(column for column in self.columns if column.name != self.target)

    @property
    def labels(self) -> tuple[str, str]:
        """The two values of the target: negative, positive."""
        negative, positive = next(column.categories for column in self.columns if column.name == self.target)
        return negative, positive

    @property
    def inputs(self) -> int:
        """How many inputs a model of this table has."""
        return sum(column.inputs for column in self.features)


class ModelFamily(BaseModel):
    """The model that the sites train."""

    model_config = STRICT

    kind: Literal["logistic", "mlp"] = Field("logistic", title="Model")
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (), max_length=8, title="Hidden layers", description="Of an MLP: the units of each hidden layer."
    )
    # Not batch normalization: it mixes rows, which breaks the privacy accounting, and leaks the statistics of a site.
    normalization: Literal["none", "group"] = Field(
        "none", title="Normalization", description="Of an MLP: none, or GroupNorm after each hidden layer."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "logistic" and (self.hidden or self.normalization != "none"):
            raise build_spec_error("bad_model", N_("A logistic model has no hidden layers and no normalization."))
        if self.kind == "mlp" and not self.hidden:
            raise build_spec_error("bad_model", N_("An MLP needs one hidden layer at least."))
        return self

    def count_parameters(self, inputs: int) -> int:
        """How many numbers a model with so many inputs has."""
        total, width = 0, inputs
        for units in self.hidden:
            total += width * units + units + (2 * units if self.normalization == "group" else 0)
            width = units
        return total + width + 1


class PrivacyBudget(BaseModel):
    """Differential privacy of each site's rows, by DP-SGD. A site stops before it spends more."""

    model_config = STRICT

    epsilon: float = Field(gt=0, le=1000, allow_inf_nan=False, title="Epsilon", description="Of all rounds together.")
    delta: float = Field(
        1e-5, gt=0, lt=0.1, title="Delta", description="Below one over the number of rows of the smallest site."
    )
    max_grad_norm: float = Field(
        1.0, gt=0, le=1e6, allow_inf_nan=False, title="Clipping norm", description="Of the gradient of one row."
    )


class EgressRule(BaseModel):
    """What may leave a site. A site sends nothing that is not within it, and records what it refused to send."""

    model_config = STRICT

    max_bytes_per_update: int = Field(
        1_000_000, ge=1, le=2**31, title="Largest update", json_schema_extra={"unit": "bytes"}
    )
    max_norm: float = Field(
        100.0,
        gt=0,
        allow_inf_nan=False,
        title="Largest change",
        description="L2 norm of an update's difference from the round's global weights.",
    )
    max_updates: int = Field(
        MAX_ROUNDS, ge=1, le=MAX_ROUNDS, title="Updates", description="How many updates may leave in all."
    )
    metrics: bool = Field(
        True,
        title="Metrics",
        description="Whether the quality of the models on the site's held-out rows may leave, with intervals.",
    )


class StudySpec(BaseModel):
    """A federated study: what every site trains, on which columns, for how long, and what may leave a site."""

    model_config = STRICT

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$", title="Name")
    schema_: DataSchema = Field(alias="schema", title="Data schema")
    model: ModelFamily = Field(ModelFamily(), title="Model")
    algorithm: Literal["fedavg", "fedprox"] = Field(
        "fedavg",
        title="Algorithm",
        description="FedAvg, or FedProx, which keeps each site's weights near the global ones.",
    )
    mu: float = Field(
        0.0, ge=0, le=100, allow_inf_nan=False, title="Mu", description="Of FedProx: how strongly they are kept near."
    )
    rounds: int = Field(10, ge=1, le=MAX_ROUNDS, title="Rounds")
    local_epochs: int = Field(
        1, ge=1, le=1000, title="Local epochs", description="Passes over a site's rows in each round."
    )
    batch_size: int = Field(32, ge=1, le=100_000, title="Batch size", json_schema_extra={"unit": "rows"})
    learning_rate: float = Field(0.1, gt=0, le=100, allow_inf_nan=False, title="Learning rate")
    aggregation: Literal["mean", "trimmed_mean"] = Field(
        "mean",
        title="Aggregation",
        description="The mean by number of rows, or a trimmed mean, which bounds what a poisoned site can do.",
    )
    trim: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        title="Trimmed share",
        description="Of a trimmed mean: the share of sites that is left out at each end, of every weight.",
    )
    minimum_sites: int = Field(
        2, ge=2, le=MAX_SITES, title="Fewest sites", description="A round with fewer updates is not aggregated."
    )
    holdout: float = Field(
        0.25, ge=0.05, le=0.5, title="Held-out share", description="Of a site's rows, to measure the models on."
    )
    privacy: PrivacyBudget | None = Field(
        None, title="Privacy budget", description="Empty: the updates are not differentially private."
    )
    egress: EgressRule = Field(EgressRule(), title="Egress rule")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed")
    code_digest: Digest = Field(
        title="Code digest", description="Of the code that trains; a site with other code does not take part."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.algorithm == "fedprox") != (self.mu > 0):
            raise build_spec_error(
                "bad_mu", N_("FedProx needs a mu above 0, and FedAvg a mu of 0; mu is {mu}."), mu=self.mu
            )
        if (self.aggregation == "trimmed_mean") != (self.trim > 0):
            raise build_spec_error(
                "bad_trim",
                N_("A trimmed mean needs a trimmed share above 0, and a mean 0; it is {trim}."),
                trim=self.trim,
            )
        if self.aggregation == "trimmed_mean" and int(self.trim * self.minimum_sites) < 1:
            raise build_spec_error(
                "bad_trim",
                N_("A trimmed share of {trim} leaves out nobody of {sites} sites: raise either."),
                trim=self.trim,
                sites=self.minimum_sites,
            )
        return self._check_size()

    def _check_size(self) -> Self:
        if self.parameters > MAX_PARAMETERS:
            raise build_spec_error(
                "model_too_large",
                N_("The model has {count} parameters; the most is {maximum}."),
                count=self.parameters,
                maximum=MAX_PARAMETERS,
            )
        if self.update_bytes > self.egress.max_bytes_per_update:
            raise build_spec_error(
                "egress_too_small",
                N_("An update of this model takes up to {bytes} bytes, and the egress rule allows {maximum}."),
                bytes=self.update_bytes,
                maximum=self.egress.max_bytes_per_update,
            )
        if self.rounds > self.egress.max_updates:
            raise build_spec_error(
                "egress_too_small",
                N_("{rounds} rounds need as many updates, and the egress rule allows {maximum}."),
                rounds=self.rounds,
                maximum=self.egress.max_updates,
            )
        return self

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return self.model.count_parameters(self.schema_.inputs)

    @property
    def update_bytes(self) -> int:
        """The bytes of one update, at most."""
        return self.parameters * FLOAT_BYTES + UPDATE_OVERHEAD_BYTES

    def to_document(self) -> dict[str, Any]:
        """The study document: what is carried to the sites, and what its digest is computed over."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """The study document as canonical JSON."""
        return json.dumps(
            self.to_document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )


def compute_study_digest(spec: StudySpec) -> str:
    """SHA-256, in hex, of the canonical study document, every default filled in."""
    return hashlib.sha256(spec.to_json().encode()).hexdigest()


def refuse_repeated(values: Any) -> None:
    values = list(values)
    repeated = next((value for value in values if values.count(value) > 1), None)
    if repeated is not None:
        raise build_spec_error("repeated", N_("{value} is there twice."), value=repeated[:60])


class FederationSite(BaseModel):
    """A site as the server knows it."""

    model_config = STRICT

    name: SiteName
    public_key: str = Field(
        pattern=r"^[A-Za-z0-9+/]{43}=$",
        title="Public key",
        description="Of the site's Ed25519 key, base64: it signs the updates and the ledger.",
    )


class FederationServerSpec(BaseModel):
    """Coordinate a federated study: send the global weights to the sites, and combine their updates round by round."""

    model_config = STRICT

    study: StudySpec
    sites: tuple[FederationSite, ...] = Field(min_length=2, max_length=MAX_SITES, title="Sites")
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - sites connect from other machines
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9.:_-]+$",
        title="Listens on",
        description="Address of this machine.",
    )
    port: int = Field(8102, ge=1, le=65_535, title="Port", description="Over mutual TLS; sites connect to it.")
    join_seconds: float = Field(
        3600,
        gt=0,
        le=30 * 86_400,
        title="Wait for sites",
        description="How long the study waits until enough sites have joined.",
        json_schema_extra={"unit": "seconds"},
    )
    round_seconds: float = Field(
        3600,
        gt=0,
        le=30 * 86_400,
        title="Time of a round",
        description="After it the round goes on without the sites that have not sent their update.",
        json_schema_extra={"unit": "seconds"},
    )

    @field_validator("sites")
    @classmethod
    def _check_sites(cls, sites: tuple[FederationSite, ...]) -> tuple[FederationSite, ...]:
        refuse_repeated([site.name for site in sites])
        refuse_repeated([site.public_key for site in sites])
        if any(site.name == SERVER_NAME for site in sites):
            raise build_spec_error("reserved", N_("{name!r} is the name of the server."), name=SERVER_NAME)
        return sites

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.sites) < self.study.minimum_sites:
            raise build_spec_error(
                "too_few_sites",
                N_("The study needs {minimum} sites, and {count} are named."),
                minimum=self.study.minimum_sites,
                count=len(self.sites),
            )
        return self


class FederationSiteSpec(BaseModel):
    """Take part in a federated study: train on the rows of this site, and send updates within the egress rule."""

    model_config = STRICT

    study: StudySpec
    site: SiteName
    server: str = Field(
        min_length=3,
        max_length=262,
        pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        title="Server",
        description="Address of the coordinating server, as HOST:PORT.",
    )
    proxy: str = Field(
        "",
        max_length=262,
        pattern=r"^([A-Za-z0-9._-]+:[0-9]{1,5})?$",
        title="Proxy",
        description="The site's own HTTP proxy, as HOST:PORT; empty: connect directly.",
    )
    join_seconds: float = Field(
        3600,
        gt=0,
        le=30 * 86_400,
        title="Wait for the server",
        description="How long the site tries to reach a server that does not answer, at the start and after a loss.",
        json_schema_extra={"unit": "seconds"},
    )

    @field_validator("site")
    @classmethod
    def _check_site(cls, site: str) -> str:
        if site == SERVER_NAME:
            raise build_spec_error("reserved", N_("{name!r} is the name of the server."), name=SERVER_NAME)
        return site


EntryKind = Literal["join", "update", "skip", "evaluation", "leave", "refused"]


class LedgerEntry(BaseModel):
    """One message that left a site, or that the site refused to send; recorded before it left."""

    model_config = STRICT

    study: Digest = Field(description="Digest of the study document.")
    site: SiteName
    round: int = Field(ge=0, le=MAX_ROUNDS, description="From 1; 0 for messages that belong to no round.")
    kind: EntryKind
    digest: Digest = Field(description="SHA-256 of the bytes of the message.")
    bytes: int = Field(ge=0)
    norm: float | None = Field(None, description="L2 norm of the change of the weights; null where it is not finite.")
    max_abs: float | None = Field(None, description="Largest change of one weight.")
    epsilon: float | None = Field(None, description="Spent by the site in all rounds so far.")
    reason: str = Field("", max_length=500, description="Of a refusal: its code.")
    created_at: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$")
    previous: Digest = Field(description="Digest of the entry before; zeros for the first.")
    public_key: str = Field(pattern=r"^[A-Za-z0-9+/]{43}=$")
    signature: str = Field(pattern=r"^[A-Za-z0-9+/]{86}==$")
