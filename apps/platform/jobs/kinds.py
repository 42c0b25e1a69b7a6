"""Every kind of job, whole. A new kind is one entry here, an engine folder, a worker file and its tests.

The HTML form, the API schema, the docs page and the validation derive from the spec; `workers/kinds.py` maps the
same keys to engine functions, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pydantic import BaseModel

from apps.platform.jobs.collection_hosts import check_hosts
from apps.platform.nodes.extras import COLLECT, FEDERATION, LANGUAGE, SCRIPTS
from apps.platform.nodes.labels import split_labels
from deepseek.clean.spec import CleanSpec
from deepseek.collect.spec import CollectSpec
from deepseek.compile.spec import CompileSpec
from deepseek.diff.spec import DiffSpec
from deepseek.entities.spec import EntitiesSpec
from deepseek.evaluate.spec import EvaluateSpec, PredictionsSpec
from deepseek.export.spec import ExportSpec
from deepseek.federated.spec import FederationServerSpec, FederationSiteSpec
from deepseek.health.spec import HealthSamplesSpec
from deepseek.images.spec import IMAGES, WEIGHTS, ImageSpec
from deepseek.language.spec import BASE, LanguageSpec, MergeSpec
from deepseek.noop.spec import NoopSpec
from deepseek.observations.spec import ObservationsSpec
from deepseek.predict.spec import PredictSpec
from deepseek.profile.spec import ProfileSpec
from deepseek.quantize.spec import CALIBRATION, QuantizeSpec
from deepseek.register.spec import QUANTIZED_FORMS, RegisterSpec
from deepseek.retraining.spec import RetrainingDataSpec
from deepseek.script.spec import ScriptSpec
from deepseek.sweep.spec import SweepAskSpec
from deepseek.train.spec import TrainSpec

GiB = 2**30
STUDY_SECONDS = 30 * 86_400  # of a federated study: its rounds wait for people and machines elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an attempt takes of a node while it runs."""

    cpus: float = 1.0
    memory_bytes: int = 1 * GiB
    gpus: int = 0
    gpu_memory_bytes: int = 0  # of each GPU
    nodes: int = 1  # each gives all of the above
    labels: str = ""  # that each of them has, as nodes.labels joins them
    extra: str = field(default="", repr=False)  # of Node.extras; follows from kind and spec, is never asked for

    def as_digest_text(self) -> str:
        """What a stored idempotency digest has of it: the fields of the first version, and others that are set.

        A field that comes later changes no digest of a body without it, or each key that is sent again after an
        upgrade would be refused as another submission.
        """
        first = ("cpus", "memory_bytes", "gpus", "gpu_memory_bytes")
        later = [entry for entry in fields(self) if entry.name not in (*first, "extra")]
        changed = [entry.name for entry in later if getattr(self, entry.name) != entry.default]
        return "Needs(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in (*first, *changed)) + ")"

    def as_body(self) -> dict[str, Any]:
        """The fields that a body may have."""
        body = {name: value for name, value in asdict(self).items() if name not in ("extra", "labels")}
        return body | ({"labels": split_labels(self.labels)} if self.labels else {})


class Network(StrEnum):
    """What an attempt may connect to; the worker gives it a network in which there is nothing else."""

    NONE = "none"  # a loopback of its own
    PLANE = "plane"  # the plane's web process
    HOSTS = "hosts"  # those that both the operator and the spec allow
    STUDY = "study"  # the server of its federated study, or the sites that connect to it
    PEERS = "peers"  # the other nodes of the same job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    label: str | Promise
    doc: str | Promise
    spec: type[BaseModel]
    queue: str  # which workers hear the doorbell; a job that needs a GPU queues on "gpu" whatever stands here
    network: Network
    inputs: tuple[str, ...] = ()  # slots that must be filled
    optional_inputs: tuple[str, ...] = ()
    spec_inputs: tuple[str, ...] = ()  # must be filled too: by what the spec's field of that name refers to, or a job
    any_inputs: bool = False  # takes slots of any name
    optional_folders: tuple[str, ...] = ()  # slots that one input may fill, or files: each is a slot FOLDER/path
    folder_inputs: tuple[str, ...] = ()  # of `inputs`, those that files may fill instead: each is a slot INPUT/path
    takes_parts: bool = False  # these files are the Parquet parts of a table, no others
    folders: tuple[str, ...] = ()  # slots that must be filled with files: each is a slot FOLDER/path
    loads: tuple[str, ...] = ()  # inputs whose bytes may be loaded as code: foreign machine code is refused there
    model_family: str = ""  # of the model that it makes, where other kinds take only some families
    refused_families: tuple[str, ...] = ()  # of the model that it takes
    outputs: tuple[str, ...] = ()
    any_outputs: bool = False  # what it makes is known when it has ended
    registers: tuple[str, ...] = ()  # keys that `register` may have
    registers_all: bool = False  # all of them or none: one alone says nothing
    needs: Needs = Needs()
    time_limit_seconds: int = 3600
    max_attempts: int = 3
    permission: str = "job.submit"
    user_code: bool = False  # runs code that its requester wrote: takes job.script besides, and a whole sandbox
    check: Callable[[Any], list[dict[str, Any]]] | None = None  # what only this plane can say against a typed spec
    distributed: bool = False  # runs over several nodes where a job asks for them
    partitioned: bool = False  # then its table is in partitions, carried by Dask; the first node coordinates
    tracked: bool = False  # the worker keeps a run of it: parameters, metrics, environment, digests
    tunable: bool = False  # a sweep may vary its spec; then a trial of it has a run, also where others have none
    internal: bool = False  # only the plane itself asks for it: no form offers it


KINDS: dict[str, JobKind] = {
    "noop": JobKind(
        label=_("No operation"),
        doc=_("Waits, reports and writes a note: to try the plane out."),
        spec=NoopSpec,
        queue="cpu",
        network=Network.NONE,
        any_inputs=True,
        outputs=("note", "echo"),
        needs=Needs(cpus=0.1, memory_bytes=64 * 2**20),
        time_limit_seconds=86_400,
        distributed=True,
        tunable=True,
    ),
    "clean": JobKind(
        label=_("Clean a table"),
        doc=_("Fills missing values, treats outliers, or follows a plan of steps; measures quality before and after."),
        spec=CleanSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("table",),
        folder_inputs=("table",),
        takes_parts=True,
        optional_inputs=("join",),
        outputs=("table", "quality_before", "quality_after", "origins"),
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
        distributed=True,
        partitioned=True,
    ),
    "diff": JobKind(
        label=_("Compare two tables"),
        doc=_("Finds the rows that were added, removed or changed between two tables, by a key."),
        spec=DiffSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("before", "after"),
        folder_inputs=("before", "after"),
        takes_parts=True,
        outputs=("changes", "summary"),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
    ),
    "collect": JobKind(
        label=_("Collect from sites"),
        doc=_("Reads records from pages of internal hosts that the operator allows, page after page."),
        spec=CollectSpec,
        queue="cpu",
        network=Network.HOSTS,
        outputs=("records", "quality", "report", "bodies"),
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB, extra=COLLECT),
        time_limit_seconds=3600,
        check=check_hosts,
    ),
    "profile": JobKind(
        label=_("Measure a table"),
        doc=_("Measures the quality of a table and checks what is expected of it, without changing it."),
        spec=ProfileSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("table",),
        folder_inputs=("table",),
        takes_parts=True,
        outputs=("quality",),
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
    ),
    "train": JobKind(
        label=_("Train a model"),
        doc=_("Trains a model on a table, measures it on held-out rows, and keeps checkpoints to go on from."),
        spec=TrainSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("table",),
        folder_inputs=("table",),
        takes_parts=True,
        outputs=("model", "manifest", "figures", "heldout", "diagnostics", "samples"),  # and drawings below plots/
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=86_400,
        registers=("experiment",),
        distributed=True,
        tracked=True,
        tunable=True,
    ),
    "train_entities": JobKind(
        label=_("Train a model of entities"),
        doc=_("Trains a model that finds persons and organizations in texts, and measures it on held-out ones."),
        spec=EntitiesSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("texts",),
        optional_inputs=("weights",),
        outputs=("model", "manifest", "figures", "heldout", "samples"),
        model_family="entities",
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=86_400,
        registers=("experiment",),
        distributed=True,
        tracked=True,
        tunable=True,
    ),
    "train_image": JobKind(
        label=_("Train an image model"),
        doc=_("Trains a convolutional network on a dataset of images, and measures it on held-out ones."),
        spec=ImageSpec,
        queue="cpu",
        network=Network.NONE,
        folders=(IMAGES,),
        optional_inputs=(WEIGHTS,),
        outputs=("model", "manifest", "figures", "heldout", "diagnostics", "samples"),  # and drawings below plots/
        model_family="image",
        needs=Needs(cpus=1.0, memory_bytes=4 * GiB),
        time_limit_seconds=86_400,
        registers=("experiment",),
        distributed=True,
        tracked=True,
        tunable=True,
    ),
    "train_language": JobKind(
        label=_("Fine-tune a language model"),
        doc=_("Trains a DeepSeek model, or adapters of it, on conversations, and answers prompts before and after."),
        spec=LanguageSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("texts",),
        spec_inputs=("base",),
        outputs=("model", "manifest", "figures", "samples", "heldout"),
        model_family="language",
        needs=Needs(cpus=1.0, memory_bytes=4 * GiB, extra=LANGUAGE),
        time_limit_seconds=7 * 86_400,
        registers=("experiment",),
        distributed=True,
        tracked=True,
        tunable=True,
    ),
    "merge_adapter": JobKind(
        label=_("Merge an adapter"),
        doc=_("Adds an adapter to the weights of its base model, so that one model comes out."),
        spec=MergeSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest"),
        spec_inputs=("base",),
        outputs=("model", "manifest"),
        model_family="language",
        needs=Needs(cpus=1.0, memory_bytes=4 * GiB, extra=LANGUAGE),
        time_limit_seconds=4 * 3600,
    ),
    "quantize": JobKind(
        label=_("Quantize a model"),
        doc=_("Makes 8-bit forms of a model, measures what each costs and brings beside fp32, and recommends one."),
        spec=QuantizeSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest", "heldout"),
        optional_inputs=(CALIBRATION,),
        refused_families=("language",),
        outputs=("model", "manifest", "figures", "exported", "tradeoff"),
        any_outputs=True,  # three more of each other form
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
        registers=("experiment",),
        tracked=True,
    ),
    "compile": JobKind(
        label=_("Compile a model"),
        doc=_("Compiles a model with TVM for this or another machine, compares it with PyTorch, and packs a bundle."),
        spec=CompileSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest", "heldout"),
        optional_inputs=("schedules",),  # the newest of the project, if none is given
        refused_families=("language",),
        outputs=("model", "manifest", "figures", "schedules", "verification", "bundle"),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=4 * 3600,
        registers=("experiment",),
        tracked=True,
    ),
    "export": JobKind(
        label=_("Export a model"),
        doc=_("Writes a trained model as pt2 (torch.export), TorchScript and ONNX, and compares each with PyTorch."),
        spec=ExportSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest"),
        optional_inputs=("heldout",),
        refused_families=("language",),
        outputs=("model", "manifest", "figures", "pt2", "onnx", "onnx_data", "vocabulary", "export"),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
        registers=("experiment",),
        tracked=True,
    ),
    "evaluate": JobKind(
        label=_("Evaluate a model"),
        doc=_("Measures a model in any form on a table, texts or images: metrics with intervals, latency, memory."),
        spec=EvaluateSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest", "table"),
        optional_folders=(BASE,),  # of an adapter
        folder_inputs=("table",),  # of images, or of the parts of a table
        loads=("model",),
        outputs=("evaluation", "rows", "replicates"),
        registers=("evaluation",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
    ),
    "evaluate_predictions": JobKind(
        label=_("Evaluate predictions"),
        doc=_("Evaluates predictions made elsewhere, row by row, on a table. The model itself is not run."),
        spec=PredictionsSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("table", "predictions"),
        folder_inputs=("table",),
        takes_parts=True,
        outputs=("evaluation", "rows", "replicates"),
        registers=("evaluation", "version"),
        registers_all=True,
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=3600,
    ),
    "predict": JobKind(
        label=_("Predict for a table"),
        doc=_(
            "Predicts for every row of a table with a version of a model, and keeps the predictions beside the rows."
        ),
        spec=PredictSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("table",),
        spec_inputs=("model", "manifest"),
        folder_inputs=("table",),
        takes_parts=True,
        loads=("model",),
        refused_families=("language", "entities", "image"),
        outputs=("table",),
        any_outputs=True,  # of a table in parts, each
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=4 * 3600,
        distributed=True,
        partitioned=True,
    ),
    "script": JobKind(
        label=_("Run a script"),
        doc=_("Runs your own code in a sandbox, on dataset versions, and keeps what it writes."),
        spec=ScriptSpec,
        queue="cpu",
        network=Network.PLANE,
        inputs=("code",),
        any_inputs=True,
        any_outputs=True,
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB, extra=SCRIPTS),
        time_limit_seconds=86_400,
        registers=("experiment", "dataset", "model"),
        distributed=True,
        user_code=True,
        tracked=True,
        tunable=True,
    ),
    "federation_server": JobKind(
        label=_("Coordinate a federated study"),
        doc=_("Sends the global weights to the sites of a study, and combines their updates round by round."),
        spec=FederationServerSpec,
        queue="cpu",
        network=Network.STUDY,
        optional_inputs=("weights",),
        outputs=("model", "federation"),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB, extra=FEDERATION),
        time_limit_seconds=STUDY_SECONDS,
        max_attempts=20,
        internal=True,
    ),
    "federation_site": JobKind(
        label=_("Take part in a federated study"),
        doc=_(
            "Trains the global model on the rows of this site, and sends updates within the egress rule of the study."
        ),
        spec=FederationSiteSpec,
        queue="cpu",
        network=Network.STUDY,
        inputs=("table",),
        outputs=("ledger", "model", "evaluation"),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB, extra=FEDERATION),
        time_limit_seconds=STUDY_SECONDS,
        max_attempts=20,
        internal=True,
    ),
    "sweep_ask": JobKind(
        label=_("Choose the next trials"),
        doc=_("Chooses the values of a sweep's next trials, and tells how much each parameter mattered so far."),
        spec=SweepAskSpec,
        queue="cpu",
        network=Network.NONE,
        outputs=("answer",),
        needs=Needs(cpus=0.5, memory_bytes=512 * 2**20),
        time_limit_seconds=600,
        internal=True,
    ),
    "observations": JobKind(
        label=_("Make a table of observations"),
        doc=_("Joins the predictions of a period with their labels, and makes one table of them."),
        spec=ObservationsSpec,
        queue="cpu",
        network=Network.NONE,
        any_inputs=True,
        outputs=("table",),
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=4 * 3600,
        internal=True,
    ),
    "retraining_data": JobKind(
        label=_("Make training data of observations"),
        doc=_("Makes labelled predictions rows of the table that a model was trained on, and holds the newest back."),
        spec=RetrainingDataSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("base",),
        any_inputs=True,
        outputs=("table", "fresh"),
        registers=("dataset", "fresh"),
        registers_all=True,
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=4 * 3600,
        internal=True,
    ),
    "health_samples": JobKind(
        label=_("Make health samples"),
        doc=_("Answers held-out rows with one form of a model, so that a device can check what it has installed."),
        spec=HealthSamplesSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("model", "manifest", "trained", "trained_manifest", "heldout"),
        refused_families=("language",),
        loads=("model", "trained"),
        outputs=("samples",),
        needs=Needs(cpus=1.0, memory_bytes=2 * GiB),
        time_limit_seconds=1800,
        internal=True,
    ),
    "register": JobKind(
        label=_("Register a model version"),
        doc=_("Checks that the forms of a model belong together, and makes a version of them."),
        spec=RegisterSpec,
        queue="cpu",
        network=Network.NONE,
        inputs=("fp32", "fp32_manifest", "fp32_figures"),
        optional_inputs=(
            "int8",
            "int8_manifest",
            "int8_figures",
            "compiled",
            "compiled_manifest",
            "compiled_figures",
            "exported",
            "exported_manifest",
            "exported_figures",
            *(f"{form}{ending}" for form in QUANTIZED_FORMS for ending in ("", "_manifest", "_figures")),
        ),
        outputs=("version",),
        registers=("model",),
        needs=Needs(cpus=0.5, memory_bytes=512 * 2**20),
        time_limit_seconds=3600,
    ),
}
