"""What every room writes with: whole files, Markdown tables, the environment of a result."""
