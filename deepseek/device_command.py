"""The command ``deepseek-agent``, which is ``deepseek agent``."""

import sys

from deepseek.cli import main as run_command_line


def main() -> int:
    """Run the agent by the words of this process, and return the exit code."""
    sys.argv.insert(1, "agent")
    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
