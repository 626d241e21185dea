"""What a mutant is: every place of the core's modules that can be changed, and what can stand there instead.

What only a type checker reads is left as it is, since nothing that runs could tell: annotations, a private alias of a type,
a ``TypeVar``, ``if TYPE_CHECKING``, ``assert_never``. So are an ``assert``, the words of an error that is raised, and the
``strict`` of a ``zip``, which is an assertion too: they say what holds anyway, or is our own mistake.

The changes are made in the syntax tree. A mutant's name says where it is and what it changes, by the source itself and not by
line numbers, so that it stays when the code around it moves.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

__all__ = ["CORE", "Core", "Mutant"]

CORE = Path("flare_actors/conversation")


@dataclass
class Site:
    """One place in a tree and what stands there instead."""

    holder: ast.AST
    field: str
    index: int | None
    new: ast.AST | None
    """None: nothing; the place is taken out of its list."""
    context: ast.AST
    where: str

    def swap(self) -> ast.AST | None:
        """Put the new thing in; gives the old."""
        if self.index is None:
            old: ast.AST = getattr(self.holder, self.field)
            setattr(self.holder, self.field, self.new)
            return old
        things = getattr(self.holder, self.field)
        old = things[self.index]
        things[self.index : self.index + 1] = [] if self.new is None else [self.new]
        return old

    def restore(self, old: ast.AST | None) -> None:
        """Put the old thing back."""
        if self.index is None:
            setattr(self.holder, self.field, old)
        else:
            things = getattr(self.holder, self.field)
            things[self.index : self.index + (self.new is not None)] = [old]


_TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NOT_RUN = (ast.Import, ast.ImportFrom, ast.Assert, ast.Raise)
"""Nothing to mutate: an assert and an error's words are not what the core decides."""


def _is_for_checkers(s: ast.stmt) -> bool:
    """Does nobody but a type checker read this statement?"""
    match s:
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return True
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
            return True
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
            return name.startswith("_")  # Others are read by the codecs.
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case _:
            return False


class Sites:
    """Every place of a module that can be mutated, in the order of the source."""

    def __init__(self, enums: dict[str, list[str]]) -> None:
        self._enums = enums
        self._found: list[Site] = []
        self._where: list[str] = []

    def of(self, tree: ast.Module) -> list[Site]:
        """The sites of ``tree``."""
        self._found, self._where = [], []
        self._body(tree, "body")
        return self._found

    def _add(self, holder: ast.AST, field: str, index: int | None, new: ast.AST | None, context: ast.AST) -> None:
        self._found.append(Site(holder, field, index, new, context, ".".join(self._where)))

    def _body(self, holder: ast.AST, field: str) -> None:
        for index, statement in enumerate(getattr(holder, field)):
            if isinstance(statement, _NOT_RUN) or _is_for_checkers(statement):
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # A docstring.
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
                if isinstance(target, ast.Name) and target.id in {"__all__", "__slots__"}:
                    continue
            self._statement(holder, field, index, statement)

    def _statement(self, holder: ast.AST, field: str, index: int, s: ast.stmt) -> None:  # noqa: C901, PLR0912 - one case a kind of node
        match s:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._where.append(s.name)
                if not isinstance(s, ast.ClassDef):
                    for defaults in ("defaults", "kw_defaults"):
                        self._list(s.args, defaults, s.args)
                self._body(s, "body")
                self._where.pop()
                return
            case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield()) | ast.AugAssign():
                self._add(holder, field, index, ast.Pass(), s)
            case ast.Return(value=None) | ast.Continue() | ast.Break():
                self._add(holder, field, index, ast.Pass(), s)
            case ast.Return(value=value) if value is not None:
                if not (isinstance(value, ast.Constant) and value.value in {None, False}):  # Both are false.
                    self._add(s, "value", None, ast.Constant(None), s)
            case ast.If() | ast.While():
                self._add(s, "test", None, ast.Constant(False), s)
                if isinstance(s, ast.If):
                    self._add(s, "test", None, ast.Constant(True), s)
            case _:
                pass
        for name, value in ast.iter_fields(s):
            if name in {"annotation", "targets", "target"}:
                continue
            if name in {"body", "orelse", "finalbody"}:
                self._body(s, name)
            elif name in {"handlers", "cases"}:
                for case in value:
                    if isinstance(case, ast.match_case) and case.guard is not None:
                        self._add(case, "guard", None, None, case)
                        self._expression(case, "guard", None, case.guard, case)
                    self._body(case, "body")
            elif isinstance(value, ast.expr):
                self._expression(s, name, None, value, s)
            elif isinstance(value, list):
                self._list(s, name, s)

    def _list(self, holder: ast.AST, field: str, context: ast.AST) -> None:
        for index, each in enumerate(getattr(holder, field)):
            if isinstance(each, ast.expr):
                self._expression(holder, field, index, each, context)

    def _expression(self, holder: ast.AST, field: str, index: int | None, e: ast.expr, context: ast.AST) -> None:  # noqa: C901, PLR0912 - one case a kind of node
        for new in self._instead(e):
            self._add(holder, field, index, new, context)
        if isinstance(e, ast.JoinedStr):
            return
        match e:
            case ast.Set(elts=elts):
                for at in range(len(elts)):
                    self._add(e, "elts", at, None, context)
            case ast.Dict(keys=keys):
                for at in range(len(keys)):
                    fewer = ast.Dict(keys=[*keys[:at], *keys[at + 1 :]], values=[*e.values[:at], *e.values[at + 1 :]])
                    self._add(holder, field, index, fewer, context)
            case ast.Call():
                for at, keyword in enumerate(e.keywords):
                    if keyword.arg is not None and not _is_strict_zip(e, keyword):
                        self._add(e, "keywords", at, None, context)
                if isinstance(e.func, ast.Attribute) and e.func.attr == "emit" and len(e.args) > 1:
                    for at in range(len(e.args)):
                        self._add(e, "args", at, None, context)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for generator in e.generators:
                    for at in range(len(generator.ifs)):
                        self._add(generator, "ifs", at, None, context)
                        self._expression(generator, "ifs", at, generator.ifs[at], context)
                    self._expression(generator, "iter", None, generator.iter, context)
            case _:
                pass
        for name, value in ast.iter_fields(e):
            if isinstance(value, ast.expr):
                self._expression(e, name, None, value, context)
            elif name == "keywords":
                for keyword in value:
                    if not (isinstance(e, ast.Call) and _is_strict_zip(e, keyword)):
                        self._expression(keyword, "value", None, keyword.value, context)
            elif isinstance(value, list) and name != "generators":
                self._list(e, name, context)

    def _instead(self, e: ast.expr) -> Iterator[ast.expr]:  # noqa: C901, PLR0912 - one case a kind of node
        """What can stand in the place of an expression."""
        match e:
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for at, op in enumerate(ops):
                    for turned in _TURNED[type(op)]:
                        yield ast.Compare(left=left, ops=[*ops[:at], turned(), *ops[at + 1 :]], comparators=comparators)
            case ast.BoolOp(op=op, values=values):
                yield ast.BoolOp(op=ast.Or() if isinstance(op, ast.And) else ast.And(), values=values)
                for at in range(len(values)):
                    rest = [*values[:at], *values[at + 1 :]]
                    yield ast.BoolOp(op=op, values=rest) if len(rest) > 1 else rest[0]
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield operand
            case ast.IfExp(body=body, orelse=orelse):
                yield body
                yield orelse
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SUMS:
                yield ast.BinOp(left=left, op=_SUMS[type(op)](), right=right)
            case ast.Call(func=ast.Name(id=name)) if name in _OPPOSITES:
                yield ast.Call(func=ast.Name(_OPPOSITES[name], ast.Load()), args=e.args, keywords=e.keywords)
            case ast.Attribute(value=ast.Name(id=enum), attr=member) if member in self._enums.get(enum, ()):
                members = self._enums[enum]
                other = members[(members.index(member) + 1) % len(members)]
                yield ast.Attribute(value=e.value, attr=other, ctx=ast.Load())
            case ast.Set(elts=[ast.Attribute(value=ast.Name(id=enum)), *_]) if enum in self._enums:
                there = {elt.attr for elt in e.elts if isinstance(elt, ast.Attribute)}
                for member in self._enums[enum]:
                    if member not in there:
                        yield ast.Set(elts=[*e.elts, ast.Attribute(ast.Name(enum, ast.Load()), member, ast.Load())])
                        break
            case ast.Constant(value=bool() as value):
                yield ast.Constant(not value)
            case ast.Constant(value=int() as value):
                yield ast.Constant(value + 1)
            case ast.Constant(value=float() as value):
                yield ast.Constant(value * 2 or 1.0)
            case ast.Constant(value=str() as value) if " " not in value.strip():  # What has spaces is prose.
                yield ast.Constant(f"{value}X")
            case _:
                pass


def _is_strict_zip(call: ast.Call, keyword: ast.keyword) -> bool:
    return keyword.arg == "strict" and isinstance(call.func, ast.Name) and call.func.id == "zip"


def _text(node: ast.AST) -> str:
    """One line of a statement (without its body), a case or a signature."""
    match node:
        case ast.If() | ast.While():
            return ast.unparse(node.test)
        case ast.For():
            return ast.unparse(node.iter)
        case ast.Match():
            return ast.unparse(node.subject)
        case ast.match_case():
            guard = f" if {ast.unparse(node.guard)}" if node.guard is not None else ""
            return f"case {ast.unparse(node.pattern)}{guard}"
        case _:
            return ast.unparse(node)


def _same(one: str, other: str) -> int:
    """How many characters at the beginning are equal."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _difference(before: str, after: str) -> str:
    """``context {old -> new} context``."""
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    # Whole words, so that it reads.
    while start and (before[start - 1].isalnum() or before[start - 1] in "_."):
        start -= 1
    while end and (before[len(before) - end].isalnum() or before[len(before) - end] in "_."):
        end -= 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    left, right = before[:start], before[len(before) - end :]
    return (
        f"{'...' if len(left) > 48 else ''}{left[-48:]}{{{old} -> {new}}}{right[:32]}{'...' if len(right) > 32 else ''}"
    )


@dataclass(frozen=True)
class Mutant:
    """One change; ``name`` says which, and stays when lines move."""

    name: str
    module: str
    index: int
    digest: str
    """Of the module's source."""


class Core:
    """The modules of a copy of the core, and all of their mutants."""

    def __init__(self, copied: Path) -> None:
        self._root = copied
        self.modules = sorted(path.stem for path in (copied / CORE).glob("*.py") if path.stem != "__init__")
        self._sources = {name: (copied / CORE / f"{name}.py").read_text(encoding="utf-8") for name in self.modules}
        self._enums: dict[str, list[str]] = {}
        for source in self._sources.values():
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & {"Enum", "_Name"}:
                    self._enums[node.name] = [
                        s.targets[0].id
                        for s in node.body
                        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
                    ]
        self._enums["_S"] = self._enums["State"]

    def mutants(self) -> Iterator[Mutant]:
        """All of them, in the order of the source."""
        for module, source in self._sources.items():
            digest = hashlib.sha256(source.encode()).hexdigest()[:12]
            names: Counter[str] = Counter()
            tree = ast.parse(source)
            for index, site in enumerate(Sites(self._enums).of(tree)):
                if site.holder is not site.context and isinstance(site.new, ast.Pass):
                    difference = f"{{{_text(site.context)[:100]} -> pass}}"
                else:
                    before = _text(site.context)
                    old = site.swap()
                    difference = _difference(before, _text(site.context))
                    site.restore(old)
                name = f"{module}{'.' if site.where else ''}{site.where}: {' '.join(difference.split())}"
                names[name] += 1
                yield Mutant(name if names[name] == 1 else f"{name} #{names[name]}", module, index, digest)

    def code(self, mutant: Mutant) -> CodeType:
        """The module, mutated and compiled."""
        tree = ast.parse(self._sources[mutant.module])
        site = copy.copy(Sites(self._enums).of(tree)[mutant.index])
        site.swap()
        return self._compiled(mutant.module, tree)

    def functions(self, mutant: Mutant) -> dict[str, CodeType] | None:
        """The functions that differ, by their qualified names; None: something else differs, too."""
        whole = self._compiled(mutant.module, ast.parse(self._sources[mutant.module]))
        differing: dict[str, CodeType] = {}
        return differing if _only_functions_differ(whole, self.code(mutant), differing) else None

    def _compiled(self, module: str, tree: ast.Module) -> CodeType:
        path = self._root / CORE / f"{module}.py"
        return compile(ast.fix_missing_locations(tree), str(path), "exec")


def _only_functions_differ(one: CodeType, other: CodeType, differing: dict[str, CodeType]) -> bool:
    """Compare the code of two modules, or of two classes' bodies."""
    if one.co_code != other.co_code or one.co_names != other.co_names or len(one.co_consts) != len(other.co_consts):
        return False
    for mine, theirs in zip(one.co_consts, other.co_consts, strict=True):
        if not isinstance(mine, CodeType):
            if repr(mine) != repr(theirs):  # 1 == True
                return False
        elif mine != theirs:
            assert isinstance(theirs, CodeType)
            if not mine.co_flags & inspect.CO_OPTIMIZED:  # a class's body
                if not _only_functions_differ(mine, theirs, differing):
                    return False
            elif mine.co_name.startswith("<") or mine.co_freevars != theirs.co_freevars:
                return False
            else:
                differing[theirs.co_qualname] = theirs
    return True
