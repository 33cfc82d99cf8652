"""inference/ - Step e grown up: what a trained model says."""
