# SPDX-License-Identifier: Apache-2.0
"""The evolution of entities over time: temporal queries, windows, aggregation and representations; pure values."""
