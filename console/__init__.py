"""What all commands of this project share: errors with hints, exit codes, files that are whole or absent, versions.

Standard library only, so that `server/` (which runs beside another Python's packages) can use it too.
"""

from console.command import run
from console.errors import ExitCode, GateError, UserError, visible

__all__ = ["ExitCode", "GateError", "UserError", "run", "visible"]
