# SPDX-License-Identifier: Apache-2.0
"""Contexts, expand, compact: bytes to values and back; remote contexts are handed in, never fetched."""
