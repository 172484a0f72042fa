"""Starts the program from its folder, wherever that is: ``python yeedu-operator/contract``."""

import os
import sys

if __name__ == "__main__":
    # In place of this folder, whose modules are to be found in their package alone.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

    from contract.cli import main

    sys.exit(main())
