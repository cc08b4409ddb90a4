"""Tables of nodes on the host: in order, joined, pruned, and as scikit-learn sees a tree.

Growth leaves the nodes of several trees mixed in one table that is mostly empty. Here they are
ordered by tree, and level by level inside a tree, so that every tree is a slice of the table.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.tree._tree import Tree, _build_pruned_tree_ccp

from jaxfound.estimators._base import bucket
from jaxfound.models import forest, tree

__all__ = ["importances", "in_order", "joined", "padded", "pruned", "trees_of", "used", "view"]

_NOTHING = -2  # scikit-learn's feature and threshold of a leaf


def in_order(nodes: Any, roots: np.ndarray) -> forest.Params:
    """The nodes that can be reached, those of a tree behind each other: one pool `[1 s]`."""
    found = list(_levels(nodes.left, np.asarray(roots)))
    order, owner = (np.concatenate(part) for part in zip(*found, strict=True))
    order = order[np.argsort(owner, kind="stable")]
    sizes = np.bincount(owner, minlength=len(roots))
    place = np.zeros(len(nodes.left), np.int32)
    place[order] = np.arange(len(order))
    kept = tree.Params._make(np.asarray(leaf)[order] for leaf in nodes)
    is_leaf = kept.left == tree.NO_CHILD
    kept = kept._replace(left=np.where(is_leaf, kept.left, place[kept.left]))
    return _pool(kept, np.append(0, sizes.cumsum()[:-1]))


def used(nodes: Any, roots: np.ndarray) -> forest.Params:
    """The places of a table that growth has filled, which are the first: one pool `[1 s]`."""
    size = max(int(nodes.left.max()) + 2, len(roots))
    return _pool(tree.Params._make(leaf[:size].copy() for leaf in nodes), roots)


def joined(pools: Sequence[forest.Params], n_trees: int) -> forest.Params:
    """The first `n_trees` trees of all pools as one."""
    begins = np.cumsum([0] + [_size(pool) for pool in pools])
    roots = np.concatenate([p.root[0] + b for p, b in zip(pools, begins[:-1], strict=True)])
    size = int(begins[-1]) if n_trees == len(roots) else int(roots[n_trees])
    columns = zip(*(_shifted(p, b) for p, b in zip(pools, begins[:-1], strict=True)), strict=True)
    nodes = tree.Params._make(np.concatenate(column)[:size] for column in columns)
    return _pool(nodes, roots[:n_trees])


def padded(nodes: Any, axis: int = 0) -> tree.Params:
    """With so many empty nodes behind it that their number, a shape, takes few values.

    Without the fields that only describe a tree.
    """
    more = bucket(nodes.left.shape[axis]) - nodes.left.shape[axis]

    def one(column):
        return np.pad(column, [(0, more * (i == axis)) for i in range(column.ndim)])

    kept = (nodes.feature, nodes.threshold, nodes.left, nodes.missing_left, nodes.value)
    empty: Any = ()
    return tree.Params._make([*map(one, kept), *[empty] * (len(nodes) - len(kept))])


def trees_of(params: Any) -> list[tree.Params]:
    """Every tree as a table of its own."""
    roots = np.append(params.root[0], _size(params))
    found = []
    for begin, end in itertools.pairwise(roots):
        nodes = tree.Params._make(leaf[0, begin:end] for leaf in params.nodes)
        is_leaf = nodes.left == tree.NO_CHILD
        left = np.where(is_leaf, nodes.left, nodes.left - begin).astype(np.int32)
        found.append(nodes._replace(left=left))
    return found


def importances(params: Any, n_features: int) -> np.ndarray:
    """Of every feature the decrease of impurity, as a share of all; the mean over the trees `[d]`.

    Reference: L. Breiman et al., Classification and Regression Trees, 1984, section 5.3.4.
    """
    roots, size = params.root[0], _size(params)
    nodes = tree.Params._make(leaf[0] for leaf in params.nodes)
    sizes: Any = np.diff(np.append(roots, size))
    owner = np.repeat(np.arange(len(roots)), sizes)
    inner = nodes.left != tree.NO_CHILD
    found = np.zeros((len(roots), n_features))
    decrease = nodes.gain[inner].astype(float) * nodes.weight[inner]
    np.add.at(found, (owner[inner], nodes.feature[inner]), decrease)
    total = found.sum(1, keepdims=True)
    mean = (found / np.where(total > 0, total, 1))[total[:, 0] > 0].sum(0)
    return mean / mean.sum() if mean.sum() > 0 else mean


def view(nodes: Any, n_features: int, n_classes: Sequence[int]) -> Any:
    """The same tree as scikit-learn's, for all that reads one.

    Args:
      nodes: in the order of `in_order`.
      n_classes: of every output; 1 for a mean.
    """
    is_leaf = nodes.left == tree.NO_CHILD
    seen: Any = Tree(n_features, np.asarray(n_classes, np.intp), len(n_classes))
    table: Any = np.zeros(len(is_leaf), seen.__getstate__()["nodes"].dtype)
    value, impurity, depth = _filled(nodes)
    table["left_child"] = nodes.left
    table["right_child"] = np.where(is_leaf, nodes.left, nodes.left + 1)
    table["feature"] = np.where(is_leaf, _NOTHING, nodes.feature)
    table["threshold"] = np.where(is_leaf, _NOTHING, nodes.threshold)
    table["impurity"] = impurity
    table["n_node_samples"] = nodes.n_rows
    table["weighted_n_node_samples"] = nodes.weight
    table["missing_go_to_left"] = nodes.missing_left & ~is_leaf
    values = np.ascontiguousarray(value[:, :, : max(n_classes)])
    seen.__setstate__(
        {"max_depth": depth, "node_count": len(table), "nodes": table, "values": values}
    )
    return seen


def pruned(nodes: Any, alpha: float, n_features: int, n_classes: Sequence[int]) -> tree.Params:
    """Without the branches whose decrease of impurity is less than `alpha` a leaf.

    Reference: L. Breiman et al., Classification and Regression Trees, 1984, section 3.3.
    """
    whole = view(nodes, n_features, n_classes)
    short: Any = Tree(n_features, np.asarray(n_classes, np.intp), len(n_classes))
    _build_pruned_tree_ccp(short, whole, alpha)
    # scikit-learn numbers the nodes anew: both are walked side by side.
    ours, theirs = [np.zeros(1, np.int32)], [np.zeros(1, np.int32)]
    while len(ours[-1]):
        inner = short.children_left[theirs[-1]] >= 0
        here, there = ours[-1][inner], theirs[-1][inner]
        ours.append(np.stack([nodes.left[here], nodes.left[here] + 1], 1).ravel())
        both = short.children_left[there], short.children_right[there]
        theirs.append(np.stack(both, 1).ravel())
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    cut = np.zeros(len(nodes.left), bool)
    cut[ours] = short.children_left[theirs] < 0
    value, impurity, _ = _filled(nodes)
    leaves = nodes._replace(
        feature=np.where(cut, tree.NO_CHILD, nodes.feature),
        left=np.where(cut, tree.NO_CHILD, nodes.left),
        threshold=np.where(cut, 0, nodes.threshold).astype(nodes.threshold.dtype),
        gain=np.where(cut, 0, nodes.gain).astype(nodes.gain.dtype),
        value=value.astype(nodes.value.dtype),
        impurity=impurity.astype(nodes.impurity.dtype),
    )
    return trees_of(in_order(leaves, np.zeros(1, np.int32)))[0]


def _levels(left: np.ndarray, level: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The nodes of all trees by depth, and the trees that they belong to."""
    owner = np.arange(len(level))
    while len(level):
        yield level, owner
        inner = left[level] != tree.NO_CHILD
        children = left[level[inner]]
        level = np.stack([children, children + 1], 1).ravel()
        owner = np.repeat(owner[inner], 2)


def _filled(nodes):
    """Values and impurities of all nodes, those of an inner one from its children; the depth."""
    value, impurity = nodes.value.astype(float), nodes.impurity.astype(float)
    weight = nodes.weight.astype(float)
    levels = [level for level, _ in _levels(nodes.left, np.zeros(1, np.int32))]
    for level in reversed(levels):
        inner = level[nodes.left[level] != tree.NO_CHILD]
        left = nodes.left[inner]
        share = weight[left] / (weight[left] + weight[left + 1])
        mixed = share[:, None, None] * value[left] + (1 - share)[:, None, None] * value[left + 1]
        value[inner] = mixed
        below = share * impurity[left] + (1 - share) * impurity[left + 1]
        impurity[inner] = below + nodes.gain[inner]
    return value, impurity, len(levels) - 1


def _shifted(pool, by):
    nodes = tree.Params._make(leaf[0] for leaf in pool.nodes)
    is_leaf = nodes.left == tree.NO_CHILD
    return nodes._replace(left=np.where(is_leaf, nodes.left, nodes.left + by).astype(np.int32))


def _size(pool):
    return pool.nodes.left.shape[1]


def _pool(nodes, roots):
    root: Any = np.asarray(roots, np.int32)[None]
    return forest.Params(tree.Params._make(leaf[None] for leaf in nodes), root)
