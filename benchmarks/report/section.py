"""A section of the report, and how its tables and figures are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.output.table import Table
from benchmarks.report.picture import Picture


@dataclass
class Section:
    """A heading, the budget that all below it shares, remarks, and the tables and figures.

    ``where`` distinguishes its tables from those of similar sections, such as ``"cnn, budget 2"``; empty where there is no other.
    """

    title: str
    budget: str = ""
    where: str = ""
    remarks: list[str] = field(default_factory=list)
    items: list[Table | Picture] = field(default_factory=list)


def name_files(sections: Sequence[Section]) -> None:
    """Gives each table and figure a name of its own for its files: small letters, digits and hyphens."""
    taken: set[str] = set()
    for section in sections:
        for i, item in enumerate(section.items):
            name = re.sub(r"[^a-z0-9]+", "-", f"{item.name} {section.where}".lower()).strip("-")
            number, unique = 1, name
            while unique in taken:  # the encoders a/b and a-b
                number += 1
                unique = f"{name}-{number}"
            taken.add(unique)
            section.items[i] = replace(item, name=unique)
