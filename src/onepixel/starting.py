"""A short start for the command: torch without its Python meta functions, which take a third of its import.

They tell shapes without computing (tensors on the device "meta", `torch.compile`, `torch.export`); an audit asks a
network for numbers. What needs them after all gets them: any part of torch that is imported later, and what we do
`with_shapes`.
"""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, TypeVar

META_FUNCTIONS = "torch._meta_registrations"
"""The module that torch imports at its end for nothing but its side effect."""

BROUGHT_ALONG = ("_decomp", "_meta_registrations", "_prims", "_refs")
"""Parts of torch that come with the meta functions; asked for by name, they are imported then."""

WITHOUT = ("torch.utils.serialization", "torch.utils._device")
"""Parts of torch that an audit imports later, and that do without."""

Built = TypeVar("Built")


def let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads sleep when they wait for each other, unless the user's environment says how they wait.

    They would otherwise turn in circles, which costs several times the work itself where other programs want the cores:
    the networks that are audited are small. It counts for what is imported afterwards.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def shorten_import_of_torch() -> None:
    """Let this process leave torch's meta functions out until something needs them; nothing if torch is there.

    For processes of our own alone (the command, the sandbox): a library does not decide how its user imports torch.
    """
    if "torch" not in sys.modules and not any(isinstance(finder, _FindsTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FindsTorch())


def import_meta_functions() -> None:
    """Import what `shorten_import_of_torch` left out, before code of others runs that may rely on it."""
    if "torch" in sys.modules:
        import_module(META_FUNCTIONS)
    else:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _FindsTorch)]


def with_shapes(build: Callable[[], Built]) -> Built:
    """What `build` gives, a function that may use torch's device "meta"; where a meta function is missed, once more."""
    try:
        return build()
    except NotImplementedError:
        if META_FUNCTIONS in sys.modules:
            raise
    import_meta_functions()
    return build()


class _FindsTorch(MetaPathFinder):
    """Finds torch as Python does, once, and has it imported by `_LoadsTorch`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How torch is loaded; None for everything else."""
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoadsTorch(spec.loader)
        return spec


class _LoadsTorch(Loader):
    """Loads torch by its own loader, with an empty module in the place of the meta functions meanwhile."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """A module as ever."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run torch's own code, then put right what it missed."""
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self.loader
        with _no_garbage_collection():
            sys.modules[META_FUNCTIONS] = ModuleType(META_FUNCTIONS)
            try:
                self.loader.exec_module(module)
            finally:
                del sys.modules[META_FUNCTIONS]
                vars(module).pop(META_FUNCTIONS.rpartition(".")[2], None)
            if _does_without(module):
                sys.meta_path.insert(0, _BringsMetaFunctions())
            else:
                import_module(META_FUNCTIONS)


class _BringsMetaFunctions(MetaPathFinder):
    """Has the meta functions imported before any later part of torch, as torch's parts are used to."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, or how a module is loaded that came with the meta functions: it is there."""
        if not fullname.startswith("torch.") or fullname.startswith(WITHOUT):
            return None
        sys.meta_path.remove(self)
        if fullname != META_FUNCTIONS:
            import_module(META_FUNCTIONS)
        module = sys.modules.get(fullname)
        if module is None:
            return None
        # Python goes by the specification of what it finds there, which would load the module again.
        module.__spec__ = ModuleSpec(fullname, _IsThere(module))
        return module.__spec__


class _IsThere(Loader):
    """Gives a module that was loaded meanwhile."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing but its own specification."""
        module.__spec__ = self.spec


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """What is imported stays: looking through it again and again, now and later, finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _does_without(torch: Any) -> bool:
    """Whether torch as it was imported is whole but for the meta functions; another version may be built otherwise."""
    if "torch._decomp" in sys.modules:  # it found an empty module where it relies on the meta functions
        return False
    try:
        torch._lazy_modules.update(BROUGHT_ALONG)
        # torch sets this on the way to the meta functions; without it there are no random numbers.
        torch._C._set_generator_metaclass(import_module("torch._custom_class_base").CustomClassBaseMeta)
    except (AttributeError, ImportError):
        pass
    try:
        torch.Generator()
    except RuntimeError:
        return False
    return hasattr(torch, "_lazy_modules") and set(BROUGHT_ALONG) <= set(torch._lazy_modules)
