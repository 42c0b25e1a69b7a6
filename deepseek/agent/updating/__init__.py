"""From a signed release to a version that is switched on."""
