"""Whole-path benchmarks: fixed data, ratios to ceilings measured in the same run."""
