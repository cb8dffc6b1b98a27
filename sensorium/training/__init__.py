"""Training: an explicit loop, subset sampling, schedules, checkpoints."""
