"""Hardware in the loop: the real runtime against the rig, with faults, judged from outside."""
