"""`python -m jobs.cli COMMAND ...`."""

from jobs.cli.dispatch import entry

entry()
