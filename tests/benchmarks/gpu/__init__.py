"""What a GPU does for the learner, and for a policy in the loop: ``make bench-gpu``."""
