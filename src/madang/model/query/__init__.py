# SPDX-License-Identifier: Apache-2.0
"""What may be asked: q, geo, scope, type selection, ordering, projection; parsed once, evaluated purely."""
