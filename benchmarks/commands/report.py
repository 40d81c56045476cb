"""``dsnet report``: tables, figures and one page from finished cells."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.output.formats import titled
from benchmarks.output.run_folder import line_files


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, or .jsonl files with lines of cells, of speed or of a study.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The report's folder.  [default: report in the first run's folder]")
    ] = None,
) -> None:
    """Makes the paper's tables and figures of finished cells, and tables of lines of speed.

    A run that is not finished is reported as far as it is: methods are compared over what all of them have. The page needs
    no network; beside it lie the tables as Markdown, LaTeX and CSV and the figures as PNG and SVG. The lines of a study
    (python -m benchmarks.studies.NAME) are no cells: their tables are printed.

    \b
    Example:
      dsnet report runs/cross runs/ablation --out report
    """
    for run in runs:
        line_files(run)
    from benchmarks.studies.tables import study_tables  # torch

    cells = []
    for run in runs:
        remarks: list[str] = []
        if tables := study_tables(run, remarks):
            typer.echo("\n\n".join([*remarks, titled(tables)]))
        else:
            cells.append(run)
    if cells:
        from benchmarks.report import write_report  # matplotlib, scikit-learn

        typer.echo(f"wrote {write_report(cells, out, typer.echo)}")
