"""Scripts that measure the product; a package, for the wheel of opacus brings one of the same name."""
