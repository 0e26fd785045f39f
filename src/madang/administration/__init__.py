# SPDX-License-Identifier: Apache-2.0
"""Who may come in: tokens, roles, personal attributes, the first administrator."""
