"""From a box to a fleet: the fleet file, what a unit is flashed with, flashing, provisioning."""
