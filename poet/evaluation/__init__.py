"""Measures checkpoints and poems: held-out losses, rates, intervals, tables and the report."""
