"""Loads a script from another folder of the checkout, so that containers and local processes share code."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from local.errors import CommandError


@cache
def load_script(file: Path) -> ModuleType:
    """Return the script as a module, without running its ``main``.

    Raises:
        CommandError: The file is missing.
    """
    name = f"_script_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    if not specification or not specification.loader or not file.exists():
        raise CommandError(f"{file} is missing; is this checkout complete?")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # a dataclass looks up its module while it is made
    sys.path.insert(0, str(file.parent))  # where its modules find each other, as when it is run
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module
