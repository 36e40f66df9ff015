"""`python -m client`: the command line."""

from __future__ import annotations

import sys

from client.commands.command_line import parser
from console import run

if __name__ == "__main__":
    sys.exit(run(parser()))
