"""Write docs/commands.md from the commands themselves: python scripts/make_command_docs.py

The page is made when the site is built (`make docs`), because Python versions word a help text
differently.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from napari_labdct import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"


def page() -> str:
    """The page, one heading a command."""
    os.environ["COLUMNS"] = "96"
    lines = ["# Commands", "", "The same runs as the docks, without a screen."]
    for name, what in cli.COMMANDS.items():
        parser = cli.make_parser(name)
        (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        text = commands.choices[name].format_help().rstrip()
        lines += ["", f"## labdct {name}", "", f"{what[0].upper()}{what[1:]}.", ""]
        lines += ["```text", text, "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
