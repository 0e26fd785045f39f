# SPDX-License-Identifier: Apache-2.0
"""Ground floor: errors, ids, clock, time, limits, settings; standard library only."""
