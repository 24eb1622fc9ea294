"""The usage example at a module's top is true: it parses, what it names exists, and its calls fit the signatures.

Nothing is imported or run. Names and signatures come from the sources, so all modules take less than two seconds. Where
an example leaves arguments out by `...`, only those that it gives are checked. A name that the example does not explain
(`model`, `folder`) is its context and is believed.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.documented_commands import COMMANDS, FalseCommandError, check_command

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("src", "container", "launcher", "local_sagemaker", "scripts")

Definition = ast.FunctionDef | ast.ClassDef


@dataclasses.dataclass(eq=False)
class Module:
    path: Path
    tree: ast.Module

    @functools.cached_property
    def name(self) -> str:
        parts = self.path.relative_to(REPOSITORY).with_suffix("").parts
        parts = parts[1:] if parts[0] in {"src", "container"} else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @functools.cached_property
    def definitions(self) -> dict[str, Definition]:
        return {node.name: node for node in self.tree.body if isinstance(node, Definition)}

    @functools.cached_property
    def imports(self) -> dict[str, str]:
        """Return what each imported name stands for: `launcher.errors.LauncherError`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        return found

    @functools.cached_property
    def assigned(self) -> set[str]:
        targets = [
            target
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        ]
        return {target.id for target in targets if isinstance(target, ast.Name)}

    def docstring(self) -> str:
        return ast.get_docstring(self.tree, clean=False) or ""


MODULES = [
    Module(path, ast.parse(path.read_text(encoding="utf-8")))
    for folder in FOLDERS
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]
BY_NAME = {module.name: module for module in MODULES}
DEFINED: dict[str, list[tuple[Module, Definition]]] = {}
for _module in MODULES:
    for _name, _node in _module.definitions.items():
        DEFINED.setdefault(_name, []).append((_module, _node))


def blocks(docstring: str) -> Iterator[str]:
    """Yield the indented blocks, and the paragraphs that are calls without being indented."""
    for paragraph in re.split(r"\n\s*\n(?!    )|(?<!    )\n\n(?=    \S)", docstring):
        lines = paragraph.strip("\n").splitlines()
        indented = [line for line in lines if line.startswith("    ")]
        block = "\n".join(line[4:] for line in indented)
        if lines and len(indented) == len(lines):
            yield block
        elif _is_call(paragraph):
            yield paragraph.strip("\n")
        elif indented and not lines[0].startswith("    "):
            yield block  # directly under its sentence


def _is_call(text: str) -> bool:
    try:
        tree = ast.parse(text.strip("\n"))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))


class FalseExampleError(AssertionError):
    """An example says what the code does not."""


class Example:
    """One block of Python, read in its module's terms."""

    def __init__(self, module: Module, block: str) -> None:
        self.module = module
        self.block = re.sub(r", \.\.\.\)", ", **others)", block.replace(", ...}", "}"))
        self.variables: dict[str, tuple[Module, ast.ClassDef] | None] = {}
        self.packages: set[str] = set()

    def check(self) -> None:
        try:
            tree = ast.parse(self.block)
        except SyntaxError as error:
            raise FalseExampleError(f"`{self.block}` is neither a command nor Python: {error}") from None
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.variables.setdefault(node.id, None)
            elif isinstance(node, ast.arg):
                self.variables.setdefault(node.arg, None)
            elif isinstance(node, ast.Import):
                self.packages |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.demand(self.named(f"{node.module}.{alias.name}"), f"{node.module}.{alias.name}")
            elif isinstance(node, Definition):
                self.variables.setdefault(node.name, None)
        for statement in tree.body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            self.variables[node.targets[0].id] = self.type_of(node.value)
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.withitem) and isinstance(part.optional_vars, ast.Name):
                self.variables[part.optional_vars.id] = self.type_of(part.context_expr)
        for part in _expressions(node):
            self.expression(part)
        for field in ("body", "orelse", "finalbody"):
            for inner_statement in getattr(node, field, []):
                self.statement(inner_statement)

    def expression(self, node: ast.expr) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                self.call(inner)
            elif isinstance(inner, ast.Attribute):
                self.attribute(inner)
            elif isinstance(inner, ast.Name) and inner.id[0].isupper():
                self.constant(inner.id)

    def call(self, node: ast.Call) -> None:
        written = ast.unparse(node.func)
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in self.variables or hasattr(builtins, name):
                return
            found = self.definition(name)
            external = self.module.imports.get(name, "").split(".")[0]
            if found is None and (external or name in self.module.assigned or name in DEFINED):  # in several modules
                return
            self.demand(found, name)
            assert found is not None
            self.bind(node, *found, written)
        elif isinstance(node.func, ast.Attribute):
            owner = self.owner(node.func.value)
            if owner is None:
                return
            member = self.member(owner, node.func.attr)
            if isinstance(member, ast.FunctionDef):
                self.bind(node, self.module, member, written, method=isinstance(owner[1], ast.ClassDef))
            elif isinstance(member, ast.ClassDef):
                self.bind(node, owner[0], member, written)

    def constant(self, name: str) -> None:
        """Demand a class or constant that is named without being called: `PLAIN`."""
        known = self.definition(name) or name in self.variables or hasattr(builtins, name) or name in DEFINED
        if not known and not any(name in module.assigned or name in module.imports for module in MODULES):
            raise FalseExampleError(f"`{name}` is defined nowhere")

    def attribute(self, node: ast.Attribute) -> None:
        owner = self.owner(node.value)
        if owner is not None and self.member(owner, node.attr) is None:
            kind = owner[1].name if isinstance(owner[1], ast.ClassDef) else owner[0].name
            raise FalseExampleError(f"`{ast.unparse(node)}`: {kind} has no {node.attr}")

    def owner(self, node: ast.expr) -> tuple[Module, ast.ClassDef | ast.Module] | None:
        """Return the class of ours that an expression is an object of, or the class or module that it names."""
        if isinstance(node, ast.Name) and node.id not in self.variables:
            if node.id == self.module.name.rpartition(".")[2] and self.definition(node.id) is None:
                of_its_name = self.definition(
                    node.id.title().replace("_", "")
                )  # `container`: a Container of its context
                if of_its_name and isinstance(of_its_name[1], ast.ClassDef):
                    return of_its_name[0], of_its_name[1]
                return self.module, self.module.tree
            named = self.module.imports.get(node.id, node.id if node.id in self.packages else "")
            if named in BY_NAME:
                return BY_NAME[named], BY_NAME[named].tree
            found = self.definition(node.id)
            return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None
        return self.type_of(node)

    def type_of(self, node: ast.expr) -> tuple[Module, ast.ClassDef] | None:  # noqa: PLR0911 - a case each
        if isinstance(node, ast.Name):
            return self.variables.get(node.id)
        if not isinstance(node, ast.Call):
            return None
        found: tuple[Module, ast.AST | str] | None = None
        if isinstance(node.func, ast.Name):
            found = self.definition(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            owner = self.owner(node.func.value)
            member = self.member(owner, node.func.attr) if owner else None
            found = (owner[0], member) if owner and member else None
            if (
                owner
                and isinstance(member, ast.FunctionDef)
                and ast.unparse(member.returns or ast.Constant(0)) == "Self"
            ):
                return (owner[0], owner[1]) if isinstance(owner[1], ast.ClassDef) else None
        if found is None:
            return None
        if isinstance(found[1], ast.ClassDef):
            return found[0], found[1]
        if isinstance(found[1], ast.FunctionDef) and found[1].returns is not None:
            names = [part.strip() for part in ast.unparse(found[1].returns).strip("'\"").split("|")]
            classes = [
                Example(found[0], "").definition(name)
                for name in names
                if re.fullmatch(r"\w+", name) and name != "None"
            ]
            if len(classes) == 1 and classes[0] and isinstance(classes[0][1], ast.ClassDef):
                return classes[0][0], classes[0][1]
        return None

    def definition(self, name: str) -> tuple[Module, Definition] | None:
        """Return what a name means in this module, else the only thing in the repository that is called so."""
        own = self.module.definitions
        if name in own:
            return self.module, own[name]
        imported = self.module.imports.get(name)
        if imported:
            return self.named(imported)
        candidates = DEFINED.get(name, [])
        package = self.module.path.relative_to(REPOSITORY).parts[0]
        near = [found for found in candidates if found[0].path.relative_to(REPOSITORY).parts[0] == package]
        return near[0] if len(near) == 1 else candidates[0] if len(candidates) == 1 else None

    def named(self, dotted: str) -> tuple[Module, Definition] | None:
        where, _, name = dotted.rpartition(".")
        module = BY_NAME.get(where)
        if module is None:
            return None
        if name in module.definitions:
            return module, module.definitions[name]
        again = module.imports.get(name)
        return self.named(again) if again and again != dotted else None

    def member(self, owner: tuple[Module, ast.ClassDef | ast.Module], name: str) -> ast.AST | str | None:  # noqa: C901, PLR0911
        """Return a method, or anything that says that there is such an attribute; None where there is none."""
        module, node = owner
        if isinstance(node, ast.Module):
            if name in module.definitions:
                return module.definitions[name]
            known = name in module.assigned or name in module.imports or f"{module.name}.{name}" in BY_NAME
            return (self.named(module.imports.get(name, "")) or ("", name))[1] if known else None
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == name:
                is_property = any("property" in ast.unparse(decorator) for decorator in item.decorator_list)
                return name if is_property else item
            if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == name:
                return name
            if isinstance(item, ast.Assign) and any(ast.unparse(target) == name for target in item.targets):
                return name
        if re.search(rf"\bself\.{re.escape(name)}\b\s*(=|:|,)", ast.unparse(node)):
            return name
        for base in node.bases:
            text = ast.unparse(base).split("[")[0]
            found = Example(module, "").definition(text)
            if found is None:
                return None if text in {"Protocol", "Generic", "ABC", "NamedTuple", "object"} else name  # a library's
            assert isinstance(found[1], ast.ClassDef)
            inherited = self.member((found[0], found[1]), name)
            if inherited is not None:
                return inherited
        return None

    def demand(self, found: object, name: str) -> None:
        if found is None:
            raise FalseExampleError(f"`{name}` is called, and neither this module nor any other of ours defines it")

    def bind(self, call: ast.Call, module: Module, node: Definition, written: str, *, method: bool = False) -> None:
        """Hold a call's arguments against the signature; raise FalseExampleError if they do not fit."""
        signature = signature_of(module, node, skip_self=method)
        if signature is None or any(isinstance(argument, ast.Starred) for argument in call.args):
            return
        open_ended = any(isinstance(argument, ast.Constant) and argument.value is ... for argument in call.args)
        arguments = [
            argument for argument in call.args if not (isinstance(argument, ast.Constant) and argument.value is ...)
        ]
        keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        open_ended = open_ended or any(keyword.arg is None for keyword in call.keywords)
        try:
            (signature.bind_partial if open_ended else signature.bind)(*arguments, **keywords)
        except TypeError as error:
            raise FalseExampleError(f"`{ast.unparse(call)}`: {error}; it is {written}{signature}") from None


def _expressions(node: ast.stmt) -> Iterator[ast.expr]:
    for field, value in ast.iter_fields(node):
        if field in {"body", "orelse", "finalbody", "handlers"}:
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.expr):
                yield part
            elif isinstance(part, ast.withitem):
                yield part.context_expr


def signature_of(module: Module, node: Definition, *, skip_self: bool = False) -> inspect.Signature | None:
    """Return what a function or class accepts; None where a library's base class decides that."""
    if isinstance(node, ast.FunctionDef):
        static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
        return _of_arguments(node.args, skip_first=skip_self and not static)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_arguments(item.args, skip_first=True)
    bases = [ast.unparse(base).split("[")[0] for base in node.bases]
    fields = _fields(module, node)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list) or "NamedTuple" in bases:
        return inspect.Signature(sorted(fields, key=lambda field: field.kind)) if fields is not None else None
    for base in bases:
        found = Example(module, "").definition(base)
        if found is not None:
            return signature_of(*found)
    return None if bases else inspect.Signature()


def _fields(module: Module, node: ast.ClassDef) -> list[inspect.Parameter] | None:
    fields: dict[str, inspect.Parameter] = {}
    for base in node.bases:
        found = Example(module, "").definition(ast.unparse(base).split("[")[0])
        if found is not None and isinstance(found[1], ast.ClassDef):
            fields |= {field.name: field for field in _fields(*found) or []}  # type: ignore[arg-type]
    keyword_only = any("kw_only=True" in ast.unparse(decorator) for decorator in node.decorator_list)
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or "ClassVar" in ast.unparse(item.annotation):
            continue
        value = ast.unparse(item.value) if item.value else ""
        if "init=False" in value:
            continue
        keyword_only = keyword_only or ast.unparse(item.annotation).endswith("KW_ONLY")
        name = ast.unparse(item.target)
        kind = inspect.Parameter.KEYWORD_ONLY if keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        fields[name] = inspect.Parameter(name, kind, default=value or inspect.Parameter.empty)
    seen_default = False
    for name, field in fields.items():  # a rule's `parameter(...)` may or may not be a default: be lenient there
        seen_default = seen_default or field.default is not inspect.Parameter.empty
        if seen_default and field.default is inspect.Parameter.empty:
            fields[name] = field.replace(default=...)
    return list(fields.values())


def _of_arguments(arguments: ast.arguments, *, skip_first: bool) -> inspect.Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    parameters = [
        inspect.Parameter(
            argument.arg,
            inspect.Parameter.POSITIONAL_ONLY
            if number < len(arguments.posonlyargs)
            else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if number < required else ...,
        )
        for number, argument in enumerate(positional)
    ][1 if skip_first else 0 :]
    if arguments.vararg:
        parameters.append(inspect.Parameter(arguments.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    parameters += [
        inspect.Parameter(
            argument.arg, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if default is None else ...
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parameters.append(inspect.Parameter(arguments.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def check(module: Module, block: str) -> None:
    """Check one block: commands, addresses or a tree of files, or Python."""
    first = next(word for word in block.split() if not re.match(r"[A-Z_]+=\S", word))
    if first in COMMANDS or first.startswith("scripts/"):
        for line in block.replace("\\\n", " ").splitlines():
            check_command(line, modules={module.name for module in MODULES})
    elif first in {"GET", "POST"} or re.match(r"[\w./<>-]*/[\w./<>-]*\s", block):
        for part in re.findall(r"(?<![\w<])[a-z_]{3,}(?=/)", block.partition("  ")[0]):
            if part not in "".join(line for line in ast.unparse(module.tree)):
                raise FalseExampleError(f"`{block}`: nothing here is called {part}")
    else:
        Example(module, block).check()


EXAMPLES = {module: list(blocks(module.docstring())) for module in MODULES}


def test_most_modules_have_an_example() -> None:
    assert sum(bool(found) for found in EXAMPLES.values()) > len(EXAMPLES) / 3


@pytest.mark.parametrize(
    "module",
    [module for module, found in EXAMPLES.items() if found],
    ids=lambda module: module.path.relative_to(REPOSITORY).as_posix(),
)
def test_the_example_at_a_modules_top_is_true(module: Module) -> None:
    for block in EXAMPLES[module]:
        try:
            check(module, block)
        except (FalseExampleError, FalseCommandError) as error:
            pytest.fail(
                f"{module.path.relative_to(REPOSITORY)}:1: mend the example in the docstring: {error}", pytrace=False
            )
