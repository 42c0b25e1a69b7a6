"""What a transformer that tags the tokens of texts costs."""

from __future__ import annotations

from dataclasses import replace

from deepseek.entities.spec import EntitiesSpec
from deepseek.fit.memory import HALF, NUMBER, DataFacts, NetworkCost, TrainingFacts, is_half
from deepseek.fit.texts import guess_longest, guess_tokens
from deepseek.train.plan import count_rows_left, count_share

CHUNK = 256  # windows that are validated at once: EntitiesLearner.validation_chunk
INDEX = 8  # bytes of a number in int64
RESERVED, SHAPES = 2, 10  # ids before those of the words, and how a token may be written: deepseek.entities.tokens
HASHES, HASH_WIDTH, REACH = 8, 32, 16  # deepseek.entities.tokens, deepseek.entities.network
BYTES_PER_TOKEN = 5  # of a file: a word and its blank, marks, and what JSON adds; of Chinese about as much with spans
FEWEST_OCCURRENCES = 2  # of a word that gets a vector of its own
TOKEN = 260  # bytes of a token while a training lasts: as an object, and as the ten numbers that the network sees
FILE_COPIES = 4  # of the bytes of a file: as it is, decoded, by line, and the texts
LIBRARIES = 390 * 10**6
HEAP = 1.15
"""Of a processor's memory per byte of activations: most are below the 32 MB from which glibc gives memory back at once,
and the heap keeps the gaps between them. Measured: 1.16, and none with a threshold of 1 MB."""


def build_entities_facts(spec: EntitiesSpec, facts: DataFacts, *, on_gpu: bool) -> TrainingFacts:
    """Of texts that nothing is known of: each as long as the model takes."""
    tokens = guess_tokens(facts, BYTES_PER_TOKEN)
    length = guess_longest(facts, BYTES_PER_TOKEN, spec.max_length, spec.max_length)
    words = spec.vocabulary
    if facts.words is not None:
        words = min(words, facts.words)
    elif tokens:
        words = min(words, tokens // FEWEST_OCCURRENCES)
    training = validation = None
    if facts.rows is not None:
        training = count_rows_left(facts.rows, (spec.validation_share, spec.test_share))
        validation = count_share(facts.rows, spec.validation_share)
    cost = compute_tagger_cost(spec, words, length, half=is_half(spec, on_gpu=on_gpu))
    if not on_gpu:
        cost = replace(cost, **{name: HEAP * getattr(cost, name) for name in ("kept", "working", "forward")})
    return TrainingFacts(
        cost=cost,
        training_rows=training,
        validation_rows=validation,
        validation_chunk=CHUNK,
        data=tokens * TOKEN + FILE_COPIES * facts.file_bytes,
        libraries=LIBRARIES,
    )


def compute_tagger_cost(spec: EntitiesSpec, words: int, length: int, *, half: bool) -> NetworkCost:
    """Of texts of `length` tokens; the network is deepseek.entities.network.EntitiesNetwork.

    Attention keeps a number for each pair of tokens and head, and with dropout three of them.
    """
    width, heads, layers, tags = spec.width, spec.heads, spec.layers, 1 + 2 * len(spec.labels)
    size, drops = HALF if half else NUMBER, spec.dropout > 0
    tables = [(words + RESERVED) * width, SHAPES * width, spec.buckets * HASH_WIDTH]
    layer_matrices = [3 * width * width, width * width, 4 * width * width, 4 * width * width]
    layer_vectors = 9 * width + (2 * REACH + 1) * heads + 4 * width
    matrices = [HASHES * HASH_WIDTH * width, *layer_matrices * layers, width * tags]
    weights = sum(tables) + sum(matrices) + layers * layer_vectors + 5 * width + tags
    pairs = heads * length * length
    layer_kept = size * (length * width * (18 if drops else 12)) + size * pairs * (2 if drops else 0)
    layer_kept += NUMBER * (length * (4 * width + 4) + pairs)  # what the norms take and give, and the softmax
    embedded = length * (size * HASHES * HASH_WIDTH + NUMBER * (width * (2 if drops else 1) + 2))
    if spec.token_dropout:
        embedded += length * INDEX * (1 + HASHES)
    head = length * (NUMBER * (width + 2) + size * width + 2 * NUMBER * tags + 1)  # one byte: whether it is padding
    kept = embedded + head + layers * layer_kept
    recomputed = 0
    if spec.activation_checkpointing:
        kept, recomputed = embedded + head + layers * NUMBER * length * width, layer_kept
    return NetworkCost(
        parameters=NUMBER * weights,
        trainable=NUMBER * weights,
        buffers=0,
        largest=NUMBER * max(*tables, *matrices),
        kept=kept,
        working=recomputed + NUMBER * (3 * pairs + 4 * length * width) + length * INDEX * (2 + HASHES),
        forward=NUMBER * (3 * pairs + length * (8 * width + HASHES * HASH_WIDTH)) + length * INDEX * (2 + HASHES),
        kept_once=INDEX * length * length + (HALF * sum(matrices) if half else 0),
    )
