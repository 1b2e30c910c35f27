"""Writes poems for titles with the model of a checkpoint folder."""
