# SPDX-License-Identifier: Apache-2.0
"""Madang: an open city data hub on which a city installs proven solutions like apps."""

__version__ = "0.1.0"
