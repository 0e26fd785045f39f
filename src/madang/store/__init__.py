# SPDX-License-Identifier: Apache-2.0
"""The Store port, its Capabilities, the change log."""
