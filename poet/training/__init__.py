"""The parts that all training scripts share, from options to the published checkpoint."""
