# SPDX-License-Identifier: Apache-2.0
"""A scraped page of metrics as values."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """What a page of metrics says, read by the library that Prometheus' users read it with."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def names(self) -> set[str]:
        """All names that a query may ask for."""
        return {sample.name for sample in self.samples}

    def number(self, name: str, **labels: str) -> float:
        """The sum of all lines of a name that have these labels; 0 without any."""
        wanted = labels.items()
        return sum(sample.value for sample in self.samples if sample.name == name and wanted <= sample.labels.items())
