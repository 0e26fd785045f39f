# SPDX-License-Identifier: Apache-2.0
"""Checks and generators of the project itself; not part of the product."""
