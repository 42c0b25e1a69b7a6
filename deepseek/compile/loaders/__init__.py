"""What goes into a bundle as it stands: the loaders for a device, in C++ and in Python."""
