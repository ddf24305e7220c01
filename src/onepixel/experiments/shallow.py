"""A definition out of a module without what the module computes with: options for help, which cannot wait for torch.

Only those statements are run that the name is made from: constants, and classes without their methods. What it takes
from other modules of onepixel is made in the same way. Such a class has its fields, and is good for nothing else.
"""

import ast
from pathlib import Path
from typing import Any

import onepixel

LIGHT = ("onepixel.errors", "onepixel.experiments.option")
"""Modules of onepixel that are imported as they are."""


def shallow(path: Path, name: str) -> Any:
    """What a module's file calls by this name."""
    return _Shallow(path).made(name)


class _Shallow:
    """The names of a module, each made when it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, Any] = {"__name__": __name__}
        self.statements = {
            name: statement
            for statement in ast.parse(path.read_text(encoding="utf-8")).body
            for name in _bound_by(statement)
        }

    def made(self, name: str) -> Any:
        """Run what the name needs, and what binds it."""
        statement = self.statements.pop(name, None)
        if isinstance(statement, ast.ImportFrom) and _is_heavy(statement.module):
            own = next(alias.name for alias in statement.names if name in (alias.name, alias.asname))
            self.names[name] = shallow(_file_of(str(statement.module)), own)
        elif statement is not None:
            if isinstance(statement, ast.ClassDef):
                fields = [line for line in statement.body if not isinstance(line, ast.FunctionDef)]
                statement.body = fields or [ast.Pass()]
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    self.made(node.id)
            module = ast.fix_missing_locations(ast.Module([statement], []))
            exec(compile(module, str(self.path), "exec"), self.names)
        return self.names.get(name)


def _bound_by(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]


def _is_heavy(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == "onepixel" and module not in LIGHT


def _file_of(module: str) -> Path:
    folder = Path(onepixel.__path__[0]).joinpath(*module.split(".")[1:])
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
