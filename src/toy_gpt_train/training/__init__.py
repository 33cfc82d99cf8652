"""training/ - Step d grown up: how models learn."""
