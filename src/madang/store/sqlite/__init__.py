# SPDX-License-Identifier: Apache-2.0
"""The embedded back-end: SQLite through apsw, no server, crash-safe."""
