"""Teaches a model which poems are preferred: by sampled pairs, by rewards or by distillation.

It also makes adapters for single authors, and prompts with themes.
"""
