# SPDX-License-Identifier: Apache-2.0
"""Data comes in: recorded city data seeded and played back."""
