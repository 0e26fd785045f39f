# SPDX-License-Identifier: Apache-2.0
"""The ETSI NGSI-LD API 1.9.1 face, one file per resource."""
