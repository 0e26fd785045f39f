# SPDX-License-Identifier: Apache-2.0
"""The scale-out back-end: PostgreSQL, many workers, many machines."""
