# SPDX-License-Identifier: Apache-2.0
"""Subscriptions delivered: match, queue, deliver, retry."""
