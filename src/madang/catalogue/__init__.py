# SPDX-License-Identifier: Apache-2.0
"""What the hub knows about its own data: today, which attributes are indexed."""
