"""world/ - Stories in simple English whose true entropy is known: a language to measure models with."""
