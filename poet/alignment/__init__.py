"""Teaches a model which poems are preferred: sampled pairs, rewards, distillation, authors."""
