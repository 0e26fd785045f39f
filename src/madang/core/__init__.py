# SPDX-License-Identifier: Apache-2.0
"""The verbs: entities, history, subscriptions, contexts, changes; the only writer and the only gatekeeper."""
