"""What lies in the home folder of a device."""
