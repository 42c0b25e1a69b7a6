"""What a convolutional network on images costs."""

from __future__ import annotations

from deepseek.fit.convolutions import CHANNELS, INDEX, Stage, iterate_prefixes, list_stages
from deepseek.fit.memory import HALF, NUMBER, DataFacts, NetworkCost, TrainingFacts, is_half
from deepseek.images.spec import ImageSpec
from deepseek.train.plan import count_rows_left, count_share

CHUNK = 64  # images that are validated at once: ImageLearner.validation_chunk
CLASSES = 100  # where neither the spec nor the data tells how many: the last layer is small beside the rest
GRADIENTS = 2  # of the largest tensor of a stage: behind it and before it
HELDOUT_BYTES = 64 << 20  # as deepseek.images.run keeps of the held-out images
LIBRARIES = 535 * 10**6  # torchvision and Pillow too, and what convolutions lay out anew; 520 to 550 MB measured
PREPARED = 3  # bytes of an image's number: of this step, as one batch, and of the step that comes


def build_image_facts(spec: ImageSpec, facts: DataFacts, *, on_gpu: bool) -> TrainingFacts:
    """Of images whose number is not known: as if there were none."""
    classes = len(spec.classes) if spec.classes else facts.classes or CLASSES
    stages = list_stages(spec.backbone, spec.height, spec.width, classes, dropout=spec.dropout > 0)
    half = is_half(spec, on_gpu=on_gpu)
    training = validation = None
    image = CHANNELS * spec.height * spec.width
    held_out = 0
    if facts.rows is not None:
        training = count_rows_left(facts.rows, (spec.validation_share, spec.test_share))
        validation = count_share(facts.rows, spec.validation_share)
        held_out = count_share(facts.rows, spec.test_share) * image
    pixels = (facts.rows or 0) * image
    return TrainingFacts(
        cost=compute_image_cost(
            stages, image, classes, half=half, checkpointing=spec.activation_checkpointing, on_gpu=on_gpu
        ),
        training_rows=training,
        validation_rows=validation,
        validation_chunk=CHUNK,
        data=pixels if pixels <= spec.cache_megabytes * 10**6 else 0,  # more lies in a file
        after=held_out + 2 * min(held_out, HELDOUT_BYTES),
        libraries=LIBRARIES,
    )


def compute_image_cost(
    stages: list[Stage], image: int, outputs: int, *, half: bool, checkpointing: bool = False, on_gpu: bool = False
) -> NetworkCost:
    """`image`: numbers of an image. In 16 bits the weights of each layer that multiplies are kept in them too."""
    size = HALF if half else NUMBER
    matrices = [matrix for stage in stages for matrix in stage.matrices]
    weights = NUMBER * (sum(matrices) + sum(stage.vectors for stage in stages))
    kept = [size * stage.kept + INDEX * stage.indices for stage in stages]
    kept[-1] += 2 * NUMBER * outputs
    held = [size * stage.inputs for stage in stages[:-1]] + [kept[-1]] if checkpointing else kept
    recomputed = [*kept[:-1], 0] if checkpointing else [0] * len(kept)
    peaks = [
        before + again + GRADIENTS * size * stage.largest
        for before, again, stage in zip(iterate_prefixes(held), recomputed, stages, strict=True)
    ]
    raw = image * (NUMBER if on_gpu else NUMBER + PREPARED)
    largest = max(stage.largest for stage in stages)
    return NetworkCost(
        parameters=weights,
        trainable=weights,
        buffers=sum(stage.buffers for stage in stages) + 2 * CHANNELS * NUMBER,
        largest=NUMBER * max(matrices),
        kept=sum(held),
        working=max(0, max(peaks) - sum(held)) + raw,
        forward=NUMBER * (2 * image + 2 * largest) + image,
        kept_once=NUMBER * sum(stage.statistics for stage in stages) + (HALF * sum(matrices) if half else 0),
    )
