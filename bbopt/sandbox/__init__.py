"""The sandbox: programs that nobody vouches for, in an interpreter of their own."""

from bbopt.sandbox.levels import LEVELS, choose, unavailable
from bbopt.sandbox.process import ProgramError, SandboxError
from bbopt.sandbox.session import Sandbox

__all__ = ["LEVELS", "ProgramError", "Sandbox", "SandboxError", "choose", "unavailable"]
