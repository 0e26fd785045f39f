# SPDX-License-Identifier: Apache-2.0
"""One file per command; calls app, prints, returns an exit code."""
