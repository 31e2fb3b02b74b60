"""Passes over a graph: fewer calls, fewer trips through memory, the same arithmetic.

Each keeps the order in which the terms of a result are added: a plan gives the bits of the model.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from .graph import Buffer, Graph, Node, View, moved, packed_strides

# Arguments that may be strided rows, some channels of a wider array; and who can write to such.
STRIDED = {
    "conv2d": {"x", "add", "residual"},
    "matmul": {"a", "residual"},
    "group_norm": {"x"},
    "attention": {"q", "k", "v"},
    "contiguous": {"x"},
}
STRIDED_OUT = {"conv2d", "matmul", "group_norm"}


def optimise(graph: Graph) -> None:
    """All passes, in place."""
    drop_unused(graph)
    fuse_epilogues(graph)
    join_products(graph)
    split_concats(graph)
    write_in_place_of_copies(graph)


def drop_unused(graph: Graph) -> None:
    """Remove calls whose results nobody reads."""
    read = {graph.output.buffer}
    for node in reversed(graph.nodes[:]):
        if any(out.buffer in read for out in node.outs):
            read.update(view.buffer for _, view in node.inputs())
        else:
            graph.nodes.remove(node)


# ---------------------------------------------------------------- additions, scales, activations


def fuse_epilogues(graph: Graph) -> None:
    """Convolutions and products take in what is done to their result alone: a vector per image or
    a residual that is added, a number that it is multiplied by, SiLU of a product."""
    for node in graph.nodes[:]:
        fuse = {"add": _fuse_addition, "multiply": _fuse_scale, "silu": _fuse_silu}.get(node.op)
        if fuse is not None:
            fuse(graph, node)


def _fuse_addition(graph: Graph, node: Node) -> None:
    a, b = node.args["a"], node.args["b"]
    pairs = [(_product_of(graph, a), b), (_product_of(graph, b), a)]
    products = [(product, other) for product, other in pairs if product is not None]
    # Of two products the later one takes the earlier one's result.
    for product, other in sorted(products, key=lambda pair: -graph.nodes.index(pair[0])):
        if product.args["scale"] == 1 and product.args["residual"] is None:
            changes = _as_residual(product, other, node) or _as_vector(product, other)
            if changes:
                _absorb(graph, product, node, **changes)
                return


def _as_residual(product: Node, other: View, node: Node) -> dict[str, View]:
    out = product.outs[0]
    if other.shape != node.outs[0].shape or not other.is_contiguous:
        return {}
    strides = packed_strides(out.shape, out.dtype.itemsize)
    return {"residual": View(other.buffer, other.offset, out.shape, strides)}


def _as_vector(product: Node, other: View) -> dict[str, View]:
    """One vector per image: (N, 1, 1, C) as (N, C)."""
    shape = product.outs[0].shape
    if product.op != "conv2d" or product.args["add"] is not None:
        return {}
    if other.shape != (shape[0], 1, 1, shape[3]):
        return {}
    ends = (shape[0], shape[3]), (other.strides[0], other.strides[3])
    return {"add": View(other.buffer, other.offset, *ends)}


def _fuse_scale(graph: Graph, node: Node) -> None:
    for x, factor in [(node.args["a"], node.args["b"]), (node.args["b"], node.args["a"])]:
        product, constant = _product_of(graph, x), factor.buffer.array
        number = constant is not None and constant.size == 1 and x.shape == node.outs[0].shape
        if product is not None and number and product.args["scale"] == 1:
            _absorb(graph, product, node, scale=float(constant.item()))
            return


def _fuse_silu(graph: Graph, node: Node) -> None:
    product = _product_of(graph, node.args["x"])
    if product is not None and product.op == "matmul":
        _absorb(graph, product, node, act="silu")


def _product_of(graph: Graph, view: View) -> Node | None:
    """The convolution or linear layer whose result this is, if nobody else reads that."""
    product = graph.producers().get(view.buffer)
    if product is None or product.op not in ("conv2d", "matmul") or not view.is_whole:
        return None
    if product.op == "matmul" and (product.args["act"] != "none" or not is_linear(product)):
        return None
    return product if len(graph.uses()[view.buffer]) == 1 else None


def is_linear(node: Node) -> bool:
    """Whether a matmul is one tall product: rows times one matrix."""
    return len(node.args["b"].shape) == 2 and not node.args["transpose_a"]


def _absorb(graph: Graph, product: Node, node: Node, **changes: Any) -> None:
    """`product` does what `node` did, at its place in the order: all that it needs is there."""
    product.args |= changes
    product.outs = [View.whole(node.outs[0].buffer, product.outs[0].shape)]
    product.fused.append(node.op)
    graph.nodes.remove(product)
    graph.nodes[graph.nodes.index(node)] = product


# ---------------------------------------------------------------- products of one input


def join_products(graph: Graph) -> None:
    """Linear layers of one input (q, k, v; all projections of the time) become one product, whose
    readers take their columns of its rows."""
    groups: dict[View, list[Node]] = {}
    for node in graph.nodes:
        if _is_joinable(graph, node):
            groups.setdefault(node.args["a"], []).append(node)
    for group in groups.values():
        members = _with_strided_readers(graph, group)
        if len(members) > 1:
            _join(graph, members)


def _is_joinable(graph: Graph, node: Node) -> bool:
    if node.op != "matmul" or not is_linear(node) or node.args["transpose_b"]:
        return False
    args = node.args
    plain = args["residual"] is None and args["scale"] == 1 and args["act"] == "none"
    constant = args["b"].buffer.array is not None and args["bias"] is not None
    return plain and constant and node.outs[0].buffer is not graph.output.buffer


def _with_strided_readers(graph: Graph, group: list[Node]) -> list[Node]:
    """Those whose readers all take rows of the joined width."""
    uses = graph.uses()
    wide = sum(node.outs[0].shape[-1] for node in group) * group[0].outs[0].dtype.itemsize

    def fits(node: Node) -> bool:
        out = node.outs[0]
        width = out.shape[-1] * out.dtype.itemsize
        readers = uses.get(out.buffer, [])
        return all(
            accepts(reader, name, moved(view, width, out.buffer, wide, 0))
            for reader, name, view in readers
        )

    return [node for node in group if fits(node)]


def accepts(node: Node | None, name: str, view: View | None) -> bool:
    """Whether a node takes that view as its argument `name`."""
    if node is None or view is None:
        return False
    if view.is_contiguous:
        return True
    strided = name in STRIDED.get(node.op, ())
    return strided and (node.op == "contiguous" or view.rows() is not None)


def _join(graph: Graph, members: list[Node]) -> None:
    first = members[0]
    rows, item = first.outs[0].shape[:-1], first.outs[0].dtype.itemsize
    ends = list(accumulate(node.outs[0].shape[-1] for node in members))
    joined = Buffer((*rows, ends[-1]), first.outs[0].dtype)
    first.args["b"] = View.whole(_concatenated([node.args["b"].buffer for node in members]))
    first.args["bias"] = View.whole(_concatenated([node.args["bias"].buffer for node in members]))
    olds = [node.outs[0] for node in members]
    first.outs = [View.whole(joined)]
    first.fused.append(f"{len(members)} in one")
    graph.nodes = [node for node in graph.nodes if node is first or node not in members]
    for old, end in zip(olds, ends, strict=True):
        width, column = old.shape[-1] * item, (end - old.shape[-1]) * item
        _move(graph, old.buffer, width, joined, ends[-1] * item, column)


def _concatenated(buffers: list[Buffer]) -> Buffer:
    """A constant: the arrays side by side along their last axis."""
    shape = (*buffers[0].shape[:-1], sum(buffer.shape[-1] for buffer in buffers))
    dtype, keys = buffers[0].dtype, tuple(buffer.key for buffer in buffers)
    array, key = np.broadcast_to(np.zeros((), dtype), shape), None if None in keys else keys
    return Buffer(shape, dtype, array=array, key=key, parts=tuple(buffers))


def _move(graph: Graph, old: Buffer, width: int, target: Buffer, pitch: int, offset: int) -> None:
    def change(view: View) -> View:
        after = moved(view, width, target, pitch, offset)
        assert after is not None
        return after

    graph.replace(old, change)


# ---------------------------------------------------------------- concatenation


def split_concats(graph: Graph) -> None:
    """Concatenation becomes one copy for each part, into its slice of the result."""
    nodes = []
    for node in graph.nodes:
        nodes += _copies(node) if node.op == "concat" else [node]
    graph.nodes = nodes


def _copies(node: Node) -> list[Node]:
    whole, axis, at, copies = node.outs[0], node.args["axis"], 0, []
    for part in node.args["arrays"]:
        offset = whole.offset + at * whole.strides[axis]
        target = View(whole.buffer, offset, part.shape, whole.strides)
        copies.append(Node("contiguous", {"x": part}, [target], ["concat"]))
        at += part.shape[axis]
    return copies


def write_in_place_of_copies(graph: Graph) -> None:
    """Who made a part for a concatenation alone writes it where it belongs, and the copy goes.

    Parts that others read too are copied: a skip connection in its place would keep the whole
    result in memory from the way down to the way up (CIFAR-10 U-Net, batch 16: 99 MB instead of 52
    for copies that take half a percent of the time).
    """
    for copy in graph.nodes[:]:
        if copy.op == "contiguous" and not copy.outs[0].is_whole:
            _write_in_place(graph, copy)


def _write_in_place(graph: Graph, copy: Node) -> None:
    source, target = copy.args["x"], copy.outs[0]
    producer, pitch = graph.producers().get(source.buffer), target.rows()
    if producer is None or producer.op not in STRIDED_OUT or pitch is None or not source.is_whole:
        return
    if producer.op == "matmul" and not is_linear(producer):
        return
    if not producer.outs[0].is_whole or producer.outs[0].shape[-1] != source.shape[-1]:
        return
    if len(graph.uses()[source.buffer]) > 1:
        return
    width = source.shape[-1] * source.dtype.itemsize
    graph.nodes.remove(copy)
    _move(graph, source.buffer, width, target.buffer, pitch, target.offset)
