# SPDX-License-Identifier: Apache-2.0
"""The front door for testers: fake clock, in-process client, contract suites."""
