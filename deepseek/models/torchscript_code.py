"""The code of a TorchScript file, read as a tree: whether it does nothing but compute."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_OPERATORS = frozenset(
    "torch." + name
    for name in (
        *("add", "cat", "clamp", "div", "embedding", "gelu", "linear", "mul", "relu", "select", "slice", "softmax"),
        *("sub", "tanh", "to"),
        # of the networks of images
        *("_convolution", "adaptive_avg_pool2d", "add_", "flatten", "hardsigmoid", "hardswish_", "max_pool2d", "relu_"),
        *("batch_norm", "dropout", "dropout_"),
        # of attention, and what a trace computes shapes with
        *("contiguous", "device", "floor_divide", "layer_norm", "log_softmax", "masked_fill", "matmul", "mean"),
        *("permute", "reshape", "scaled_dot_product_attention", "size", "squeeze", "transpose", "unbind", "unflatten"),
        *("unsqueeze", "view"),
    )
) | {"ops.quantized.linear_dynamic", "ops.prim.NumToTensor", "annotate", "int"}
_METHOD = re.compile(r"forward\d*")
"""A module that is used twice has a method of its own for each call: forward, forward1."""
_PACKING = {"_weight_bias", "set_weight_bias"}
"""Methods of a layer that `quantize_dynamic` made. They are compiled with the file, and nothing in it calls them."""
_PACKING_OPERATORS = frozenset(
    "ops.quantized." + name for name in ("linear_prepack", "linear_prepack_fp16", "linear_unpack", "linear_unpack_fp16")
) | {"ops.prim.RaiseException", "torch.eq", "uninitialized"}
_PACKED = "__torch__.torch.classes.quantized.LinearPackedParamsBase"
_RESERVED = {
    "torch",
    "ops",
    "CONSTANTS",
    "__torch__",
    "getattr",
    "uninitialized",
    "annotate",
    "int",
}  # what an assignment may not rename
_CALL_LIMIT = 10_000  # of modules in one prediction; ResNet-18 has 80


class _Forbidden(Exception):
    """What the code does that it must not."""


@dataclass(frozen=True)
class _Class:
    """A module of the file: the types of its attributes, and its methods ``forward``, ``forward1`` and so on."""

    attributes: Mapping[str, str]
    forwards: Mapping[str, ast.FunctionDef]


def find_forbidden_call(files: Mapping[str, bytes]) -> str | None:
    """The first thing that the code does beyond the operators that are allowed and calls of its own modules; None if
    there is nothing. `files`: name of the entry, such as ``code/__torch__/torch/nn/modules/linear.py`` -> source.
    """
    classes = dict[str, _Class]()
    try:
        for name, source in files.items():
            tree = ast.parse(source.decode())
            _check_nodes(tree)
            module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
            for node in tree.body:
                if not isinstance(node, ast.ClassDef) or f"{module}.{node.name}" in classes:
                    raise _Forbidden("what is no class, or one twice")
                classes[f"{module}.{node.name}"] = _read_class(node)
        _check_calls(classes)
    except _Forbidden as error:
        return str(error)[:100]
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return "code that cannot be read"
    return None


def _check_nodes(tree: ast.Module) -> None:
    packing = {id(node) for method in _iterate_packing(tree) for node in ast.walk(method)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not _METHOD.fullmatch(node.name) and node.name not in _PACKING:
            raise _Forbidden(f"a method {node.name}")
        if isinstance(node, ast.While | ast.For):
            raise _Forbidden("a loop")
        if isinstance(node, ast.Call) and not _is_allowed(node, in_packing=id(node) in packing):
            raise _Forbidden(ast.unparse(node.func))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in {*_RESERVED, "self"}:
            raise _Forbidden(f"another meaning of {node.id}")
        if isinstance(node, ast.arg) and node.arg in _RESERVED:
            raise _Forbidden(f"another meaning of {node.arg}")
        if isinstance(node, ast.Attribute) and _names_other_class(node):
            raise _Forbidden(ast.unparse(node))


def _iterate_packing(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in _PACKING:
            yield node


def _is_allowed(node: ast.Call, *, in_packing: bool) -> bool:
    called = ast.unparse(node.func)
    if called in _OPERATORS or (in_packing and called in _PACKING_OPERATORS):
        return True
    if called == "getattr":
        return len(node.args) == 2 and isinstance(node.args[1], ast.Constant) and not node.keywords
    return _is_forward(node) and not in_packing


def _is_forward(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and _METHOD.fullmatch(node.func.attr) is not None


def _names_other_class(node: ast.Attribute) -> bool:
    """Whether it names a class of torch's own C++ code that no quantized layer is of."""
    name = ast.unparse(node)
    prefix = "__torch__.torch.classes."
    return name.startswith(prefix) and not _PACKED.startswith(name)


def _read_class(node: ast.ClassDef) -> _Class:
    if [ast.unparse(base) for base in node.bases] != ["Module"]:
        raise _Forbidden(f"a class {node.name} that is no module")  # of an interface the module is known too late
    attributes, forwards = dict[str, str](), dict[str, ast.FunctionDef]()
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            attributes[part.target.id] = ast.unparse(part.annotation)
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Subscript):
            key = part.targets[0].slice  # __annotations__["0"] = type: a name that is no identifier
            if isinstance(key, ast.Constant):
                attributes[str(key.value)] = ast.unparse(part.value)
        elif isinstance(part, ast.FunctionDef) and _METHOD.fullmatch(part.name):
            if part.name in forwards:
                raise _Forbidden(f"two methods {part.name}")
            forwards[part.name] = part
    return _Class(attributes, forwards)


def _check_calls(classes: Mapping[str, _Class]) -> None:
    """Every call of a module is of one whose code is here, none calls itself, and they are not too many in all: a
    chain in which each module calls the next one twice would never end."""
    counts, under_way = dict[tuple[str, str], int](), set[tuple[str, str]]()

    def count(method: tuple[str, str]) -> int:
        if method in under_way:
            raise _Forbidden("a module that calls itself")
        if method not in counts:
            under_way.add(method)
            total = 1 + sum(count(callee) for callee in _list_callees(*method, classes))
            under_way.remove(method)
            if total > _CALL_LIMIT:
                raise _Forbidden(f"more than {_CALL_LIMIT} calls of modules")
            counts[method] = total
        return counts[method]

    for name, read in classes.items():
        for method in read.forwards:
            count((name, method))


def _list_callees(name: str, method: str, classes: Mapping[str, _Class]) -> list[tuple[str, str]]:
    """The class and the method of each module that one method of a class calls."""
    forward = classes[name].forwards[method]
    values, callees = _list_values(forward), list[tuple[str, str]]()
    for node in ast.walk(forward):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_forward(node):
            callee = _resolve(node.func.value, name, values, classes, 0)
            if callee not in classes or node.func.attr not in classes[callee].forwards:
                raise _Forbidden(ast.unparse(node.func))
            callees.append((callee, node.func.attr))
    return callees


def _list_values(forward: ast.FunctionDef) -> dict[str, ast.expr]:
    """Name -> the expression that it stands for, of names that get a value once."""
    nodes = list(ast.walk(forward))
    stored = Counter(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    stored.update(node.arg for node in nodes if isinstance(node, ast.arg) and node.arg != "self")
    return {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and stored[target.id] == 1 and target.id != "self"
    }


def _resolve(
    node: ast.expr, name: str, values: Mapping[str, ast.expr], classes: Mapping[str, _Class], depth: int
) -> str:
    """The class of the module that an expression in a ``forward`` of the class `name` stands for; empty if unclear."""
    if isinstance(node, ast.Name) and node.id == "self":
        return name
    if isinstance(node, ast.Name):
        return _resolve(values[node.id], name, values, classes, depth + 1) if node.id in values and depth < 50 else ""
    if isinstance(node, ast.Attribute):
        owner, key = node.value, node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
        owner, key = node.args[0], str(node.args[1].value)
    else:
        return ""
    holder = _resolve(owner, name, values, classes, depth + 1)
    return classes[holder].attributes.get(key, "") if holder in classes else ""
