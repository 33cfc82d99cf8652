"""inference/ - Step e grown up: what a trained model predicts, writes, and how well. Token ids in, token ids out."""
