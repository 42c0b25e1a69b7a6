"""Generate names for unnamed runs: two words and a number, easier to say than 32 hex digits."""

from __future__ import annotations

import random


def split_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = split_words(
    "able amber ample apt azure bold brave bright brisk broad calm candid civil clean clear clever cool copper coral "
    "cosy crisp deft eager early easy even exact fair famous fine firm fleet fond frank free fresh gentle glad golden "
    "good grand green handy happy hardy honest humble indigo ivory jolly keen kind large level light little lively "
    "lucid lucky mellow merry mild modest neat nimble noble open patient plain polite prime proud quick quiet rapid "
    "ready rosy round royal sharp silver smart smooth snug solid sound spry steady still stout strong subtle sunny "
    "sure swift tidy tough trim true vivid warm wise witty young"
)
NOUNS = split_words(
    "acorn alder anchor apple arch aspen badger bamboo barley basin beacon bear beaver birch bison bridge brook "
    "canyon cedar clover cliff comet condor coral cove crane creek cricket delta dolphin dove dune eagle elm ember "
    "falcon fern finch fjord forest fox garnet glade grove gull harbor hare hawk hazel heron hill ibex island ivy "
    "jade jay kestrel kite lagoon lake lantern lark lemon lily linden lotus lynx maple marten meadow moss oak orchard "
    "orchid otter owl panda peach pebble pine plum pond poplar quail quartz raven reed ridge river robin rowan sage "
    "salmon seal shore sparrow spruce star stone stork swan thistle thrush tiger trout tulip turtle valley willow "
    "wren"
)
_chance = random.Random()  # noqa: S311 - a name is no secret; a generator of its own: a seeded one is left alone


def generate_run_name() -> str:
    """For instance steady-heron-418. It may come twice: the id tells runs apart."""
    return f"{_chance.choice(ADJECTIVES)}-{_chance.choice(NOUNS)}-{_chance.randrange(1000)}"
