"""Keeps imported modules out of ``sys.modules`` until something imports them."""

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Group = dict[str, ModuleType]


def import_groups(names: Iterable[str]) -> list[Group]:
    """Import modules; return each with the modules that it brought, under top-level names that are new."""
    return [_import_apart(name) for name in names]


class Shelf:
    """Hands out modules that were imported before, as importing them would have made them.

    A finder for ``sys.meta_path``. A module is handed out together with its group and all groups before it,
    on which it may depend, and only while the import system would find the same files for all of them: a
    flow's repository may have a module of the same name. Otherwise that group and those after it are
    forgotten, and imported afresh.

    Args:
        groups: The modules by name. A group may import from those before it.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = list(groups)

    def modules(self) -> Iterable[ModuleType]:
        """Return all modules on the shelf."""
        return [module for group in self._groups for module in group.values()]

    def take_away(self) -> None:
        """Take the modules out of ``sys.modules``."""
        for group in self._groups:
            for name in group:
                del sys.modules[name]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Put the module and what it needs into ``sys.modules``; see ``importlib.abc.MetaPathFinder``."""
        position = next((index for index, group in enumerate(self._groups) if name in group), None)
        if position is None:
            return None
        groups = self._groups[: position + 1]
        for index, group in enumerate(groups):
            if not all(_is_found_again(module) for module in group.values()):
                del self._groups[index:]
                return self.find_spec(name, path, target)
        del self._groups[: position + 1]
        wanted = groups[-1][name]
        for group in groups:
            for found, module in group.items():
                # If the wanted one were there already, the import system would use its spec and run it again.
                if module is not wanted:
                    sys.modules.setdefault(found, module)
        return ModuleSpec(name, _Handover(wanted))


class _Handover(Loader):
    """The loader of a module that is already imported."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the import system's call
        """Return the module instead of an empty one."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's own spec, which the import system has just replaced."""
        module.__spec__ = self._spec


def _import_apart(name: str) -> Group:
    before = {module.partition(".")[0] for module in sys.modules}
    importlib.import_module(name)
    return {
        found: module
        for found, module in sys.modules.items()
        if found.partition(".")[0] not in before and found != "__main__"
    }


def _is_found_again(module: ModuleType) -> bool:
    """Tell whether an import would find the same file; what is inside a package follows the package."""
    if "." in module.__name__:
        return True
    spec = module.__spec__
    if spec is None or not spec.has_location:
        return True  # built in, or made by another module
    found = PathFinder.find_spec(module.__name__)
    return found is not None and found.origin == spec.origin
