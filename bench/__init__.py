# SPDX-License-Identifier: Apache-2.0
"""Whole-path benchmarks: fixed data, ratios to ceilings measured in the same run."""
