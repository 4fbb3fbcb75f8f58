"""`transformer report`."""

from dataclasses import dataclass
from pathlib import Path

from transformer.commands.options import Command, StudyFolder


@dataclass(frozen=True)
class Report(Command):
    """Make tables (Markdown, LaTeX) and figures of a study from its results.json alone; nothing is trained.

    Writes tables.md, tables.tex and figures (SVG and PDF) next to the study's file, and fills its README between <!--
    table:NAME --> and <!-- end -->.
    """

    study: StudyFolder

    def execute(self) -> None:
        from transformer.study.report import present

        present(Path(self.study))
