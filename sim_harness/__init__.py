"""MuJoCo in place of the machine: a plant and motor firmware behind a serial port."""
