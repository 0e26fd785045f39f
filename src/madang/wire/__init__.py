# SPDX-License-Identifier: Apache-2.0
"""Manners of HTTP: requests, answers, problem table, content types, paging."""
