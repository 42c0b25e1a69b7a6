"""An engine that ends its process instead of returning."""

import sys


def run(spec, **_):
    sys.exit(3)
