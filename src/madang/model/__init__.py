# SPDX-License-Identifier: Apache-2.0
"""What a city says: entity, attribute, query, subscription, change; pure values, no I/O, no clock."""
