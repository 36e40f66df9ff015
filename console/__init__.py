"""How every command of this project speaks to a person: errors with hints, exit codes, logging.

Standard library only, so that `server/` (which runs beside another Python's packages) can use it too.
"""

from console.command import run
from console.errors import ExitCode, GateError, UserError

__all__ = ["ExitCode", "GateError", "UserError", "run"]
