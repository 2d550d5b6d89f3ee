//! The nodes whose attributes point into each other: tree ensembles, support vectors, linear models.
//!
//! ONNX Runtime follows tree nodes without counting steps, and notices an index out of range when a run comes by, if at
//! all: here trees must be trees, every index in range, every length as the others say, before it sees them.

use std::collections::HashMap;

use crate::error::Fault;
use crate::graph::demand::{Demand, Width};
use crate::graph::onnx::{Node, refused};

const MAX_TREE_DEPTH: usize = 2000;
const MAX_TARGETS: i64 = 100_000;
/// One of these says how a tree node compares; the last that it is a leaf.
const MODES: [&[u8]; 7] = [b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ", LEAF];
const LEAF: &[u8] = b"LEAF";

/// Checks a node. Returns what it demands of the width of its input.
pub fn demand(node: &Node<'_>) -> Result<Option<Demand>, Fault> {
    let width = match node.operator {
        "TreeEnsembleClassifier" => trees(node, "class", classes(node)?)?,
        "TreeEnsembleRegressor" => trees(node, "target", targets(node, "n_targets")?)?,
        "TreeEnsemble" => flat_trees(node)?,
        "SVMClassifier" => support_vectors(node)?,
        "SVMRegressor" => support_vector_regressor(node)?,
        "LinearClassifier" => linear(node, node.floats("intercepts"))?,
        "LinearRegressor" => linear(node, targets(node, "targets")?)?,
        _ => return Ok(None),
    };
    let input = node.inputs.first().ok_or_else(|| refused(&node.location(), "has no input"))?;
    Ok(Some(Demand { node: node.location(), input: (*input).to_owned(), width }))
}

fn require(node: &Node<'_>, is_true: bool, rule: &str) -> Result<(), Fault> {
    if is_true { Ok(()) } else { Err(refused(&node.location(), rule)) }
}

fn classes(node: &Node<'_>) -> Result<usize, Fault> {
    let (ints, strings) = (
        node.ints("classlabels_int64s").len() + node.ints("classlabels_ints").len(),
        node.texts("classlabels_strings").len(),
    );
    require(node, (ints == 0) != (strings == 0), "has class labels of both kinds, or of none")?;
    Ok(ints + strings)
}

fn targets(node: &Node<'_>, name: &str) -> Result<usize, Fault> {
    let targets = node.int(name).unwrap_or(1);
    require(node, (1..=MAX_TARGETS).contains(&targets), "has a number of targets that can not be")?;
    Ok(index(targets))
}

/// An integer known not to be negative.
fn index(integer: i64) -> usize {
    usize::try_from(integer).unwrap_or(usize::MAX)
}

/// Trees by lists of their nodes' attributes (`ai.onnx.ml` 1 and 3).
fn trees(node: &Node<'_>, prefix: &str, targets: usize) -> Result<Width, Fault> {
    let count = node.ints("nodes_treeids").len();
    let integers = |name: &str| node.ints(name);
    let columns = [
        integers("nodes_nodeids"),
        integers("nodes_featureids"),
        integers("nodes_truenodeids"),
        integers("nodes_falsenodeids"),
    ];
    let is_even = columns.iter().all(|column| column.len() == count)
        && node.texts("nodes_modes").len() == count
        && node.floats("nodes_values") == count;
    require(node, is_even && count > 0, "has lists of tree nodes of different lengths, or none")?;
    let optional = [node.floats("nodes_hitrates"), node.ints("nodes_missing_value_tracks_true").len()];
    require(
        node,
        optional.iter().all(|&length| length == 0 || length == count),
        "has lists of tree nodes of different lengths",
    )?;
    require(
        node,
        node.texts("nodes_modes").iter().all(|mode| MODES.contains(mode)),
        "has a tree node of an unknown mode",
    )?;
    let forest = Forest::of(node, &columns)?;
    forest.check(node)?;
    check_weights(node, &forest, prefix, targets)?;
    let features =
        || columns[1].iter().zip(&forest.is_leaf).filter(|(_, is_leaf)| !**is_leaf).map(|(&feature, _)| feature);
    require(node, features().all(|feature| feature >= 0), "has a tree node with a feature below zero")?;
    Ok(Width::AtLeast(features().max().map_or(0, |feature| index(feature).saturating_add(1))))
}

fn check_weights(node: &Node<'_>, forest: &Forest, prefix: &str, targets: usize) -> Result<(), Fault> {
    let ids = node.ints(&format!("{prefix}_ids"));
    let (trees, nodes) = (node.ints(&format!("{prefix}_treeids")), node.ints(&format!("{prefix}_nodeids")));
    let is_even =
        [trees.len(), nodes.len(), node.floats(&format!("{prefix}_weights"))].iter().all(|&length| length == ids.len());
    require(node, is_even && !ids.is_empty(), "has lists of weights of different lengths, or none")?;
    require(
        node,
        ids.iter().all(|&id| id >= 0 && index(id) < targets),
        "has a weight for a class or target that is not there",
    )?;
    let is_leaf =
        |(&tree, &id): (&i64, &i64)| forest.indices.get(&(tree, id)).is_some_and(|&index| forest.is_leaf[index]);
    require(node, trees.iter().zip(nodes).all(is_leaf), "has a weight on a node that is no leaf of its trees")?;
    let base = node.floats("base_values");
    require(
        node,
        base == 0 || base == targets || (base == 1 && targets == 2),
        "has base values of another number than its classes or targets",
    )
}

/// Nodes of all trees, with their children as indices in the list.
struct Forest {
    indices: HashMap<(i64, i64), usize>,
    is_leaf: Vec<bool>,
    /// Of a node that is no leaf: where it goes when true and when false.
    children: Vec<Option<[usize; 2]>>,
    trees: Vec<i64>,
}

impl Forest {
    fn of(node: &Node<'_>, columns: &[&[i64]; 4]) -> Result<Self, Fault> {
        let trees = node.ints("nodes_treeids").to_vec();
        let [ids, _, true_ids, false_ids] = columns;
        let indices: HashMap<(i64, i64), usize> = trees.iter().copied().zip(ids.iter().copied()).zip(0..).collect();
        require(node, indices.len() == trees.len(), "has a tree node twice")?;
        let is_leaf: Vec<bool> = node.texts("nodes_modes").iter().map(|mode| *mode == LEAF).collect();
        let mut children = Vec::with_capacity(trees.len());
        for node_index in 0..trees.len() {
            let child = |id: i64| {
                indices
                    .get(&(trees[node_index], id))
                    .copied()
                    .ok_or_else(|| refused(&node.location(), "has a tree node with a child that is not there"))
            };
            children.push(if is_leaf[node_index] {
                None
            } else {
                Some([child(true_ids[node_index])?, child(false_ids[node_index])?])
            });
        }
        Ok(Self { indices, is_leaf, children, trees })
    }

    /// Every tree has one root, its first node, and every other node one parent: so there is no cycle.
    fn check(&self, node: &Node<'_>) -> Result<(), Fault> {
        let mut has_parent = vec![false; self.trees.len()];
        for child in self.children.iter().flatten().flatten() {
            require(
                node,
                !has_parent[*child],
                "has a tree node with two parents: a tree goes round or grows together",
            )?;
            has_parent[*child] = true;
        }
        let mut roots: HashMap<i64, usize> = HashMap::new();
        for (index, tree) in self.trees.iter().enumerate() {
            let is_first = !roots.contains_key(tree);
            roots.entry(*tree).or_insert(index);
            require(node, is_first != has_parent[index], "has a tree whose first node is not its only root")?;
        }
        let reached = reach(node, roots.values().copied(), |index| self.children[index])?;
        require(node, reached == self.trees.len(), "has tree nodes that no root leads to: a tree goes round")
    }
}

/// Nodes reached from the roots, where no node has two parents; refuses what is too deep.
fn reach(
    node: &Node<'_>,
    roots: impl Iterator<Item = usize>,
    children: impl Fn(usize) -> Option<[usize; 2]>,
) -> Result<usize, Fault> {
    let mut reached = 0;
    let mut open: Vec<(usize, usize)> = roots.map(|root| (root, 0)).collect();
    while let Some((index, depth)) = open.pop() {
        require(node, depth <= MAX_TREE_DEPTH, "has a tree that is too deep")?;
        reached += 1;
        open.extend(children(index).into_iter().flatten().map(|child| (child, depth + 1)));
    }
    Ok(reached)
}

/// Trees by indices into flat lists (`ai.onnx.ml` 5).
fn flat_trees(node: &Node<'_>) -> Result<Width, Fault> {
    let (features, modes) = (node.ints("nodes_featureids"), tensor_elements(node, "nodes_modes"));
    let count = features.len();
    let lists = [
        node.ints("nodes_truenodeids"),
        node.ints("nodes_falsenodeids"),
        node.ints("nodes_trueleafs"),
        node.ints("nodes_falseleafs"),
    ];
    let is_even = lists.iter().all(|list| list.len() == count)
        && modes == count
        && tensor_elements(node, "nodes_splits") == count;
    require(node, is_even && count > 0, "has lists of tree nodes of different lengths, or none")?;
    let optional = [tensor_elements(node, "nodes_hitrates"), node.ints("nodes_missing_value_tracks_true").len()];
    require(
        node,
        optional.iter().all(|&length| length == 0 || length == count),
        "has lists of tree nodes of different lengths",
    )?;
    require(
        node,
        node.attribute("membership_values").is_none(),
        "compares with sets of values, which Serval does not run",
    )?;
    let raw_modes =
        node.attribute("nodes_modes").and_then(|modes| modes.tensor.as_ref()).map_or(&[][..], |tensor| tensor.raw);
    require(
        node,
        raw_modes.len() == count && raw_modes.iter().all(|&mode| mode <= 5),
        "has a tree node of an unknown mode",
    )?;
    require(node, features.iter().all(|&feature| feature >= 0), "has a tree node with a feature below zero")?;
    check_flat_leaves(node)?;
    check_flat_nodes(node, count)?;
    Ok(Width::AtLeast(index(features.iter().copied().max().unwrap_or(0)).saturating_add(1)))
}

fn tensor_elements(node: &Node<'_>, name: &str) -> usize {
    node.attribute(name)
        .and_then(|attribute| attribute.tensor.as_ref())
        .map_or(0, |tensor| tensor.elements().unwrap_or(usize::MAX))
}

fn check_flat_leaves(node: &Node<'_>) -> Result<(), Fault> {
    let targets = targets(node, "n_targets")?;
    let ids = node.ints("leaf_targetids");
    require(
        node,
        tensor_elements(node, "leaf_weights") == ids.len() && !ids.is_empty(),
        "has lists of leaves of different lengths, or none",
    )?;
    require(node, ids.iter().all(|&id| id >= 0 && index(id) < targets), "has a leaf for a target that is not there")
}

fn check_flat_nodes(node: &Node<'_>, count: usize) -> Result<(), Fault> {
    let leaves = node.ints("leaf_targetids").len();
    let mut has_parent = vec![false; count];
    let sides = [("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")];
    for (&child, &is_leaf) in
        sides.iter().flat_map(|(children, are_leaves)| node.ints(children).iter().zip(node.ints(are_leaves)))
    {
        require(node, (0..=1).contains(&is_leaf), "has a tree node that is neither leaf nor branch")?;
        let end = if is_leaf == 1 { leaves } else { count };
        require(node, child >= 0 && index(child) < end, "has a tree node with a child that is not there")?;
        if is_leaf == 0 {
            require(
                node,
                !has_parent[index(child)],
                "has a tree node with two parents: a tree goes round or grows together",
            )?;
            has_parent[index(child)] = true;
        }
    }
    let roots = node.ints("tree_roots");
    require(
        node,
        !roots.is_empty() && roots.iter().all(|&root| root >= 0 && index(root) < count && !has_parent[index(root)]),
        "has a root that is not there, or is a child",
    )?;
    let child = |node_index: usize, side: usize| {
        let (children, are_leaves) = sides[side];
        (node.ints(are_leaves)[node_index] == 0).then(|| index(node.ints(children)[node_index]))
    };
    let reached = reach_sides(node, roots, child)?;
    require(node, reached <= count, "has a root twice")
}

fn reach_sides(node: &Node<'_>, roots: &[i64], child: impl Fn(usize, usize) -> Option<usize>) -> Result<usize, Fault> {
    let mut reached = 0;
    let mut open: Vec<(usize, usize)> = roots.iter().map(|&root| (index(root), 0)).collect();
    while let Some((index, depth)) = open.pop() {
        require(node, depth <= MAX_TREE_DEPTH, "has a tree that is too deep")?;
        reached += 1;
        open.extend((0..2).filter_map(|side| child(index, side)).map(|child| (child, depth + 1)));
    }
    Ok(reached)
}

fn support_vectors(node: &Node<'_>) -> Result<Width, Fault> {
    let per_class = node.ints("vectors_per_class");
    let classes = classes(node)?;
    let is_whole = per_class.len() == classes
        && classes >= 2
        && per_class.iter().all(|count| (0..=i64::from(i32::MAX)).contains(count));
    require(node, is_whole, "has no number of support vectors for each class")?;
    let vectors: usize = per_class.iter().map(|&count| index(count)).sum();
    let pairs = classes * (classes - 1) / 2;
    let lengths = [node.floats("prob_a"), node.floats("prob_b")];
    let is_even = node.floats("coefficients") == (classes - 1) * vectors
        && node.floats("rho") == pairs
        && lengths[0] == lengths[1]
        && (lengths[0] == 0 || lengths[0] == pairs);
    require(node, is_even, "has coefficients of another number than its support vectors")?;
    width_of(node, node.floats("support_vectors"), vectors)
}

fn support_vector_regressor(node: &Node<'_>) -> Result<Width, Fault> {
    let vectors = index(node.int("n_supports").unwrap_or(0));
    require(node, node.floats("rho") == 1, "has not one rho")?;
    require(
        node,
        vectors > 0 && node.floats("coefficients") == vectors,
        "has coefficients of another number than its support vectors",
    )?;
    width_of(node, node.floats("support_vectors"), vectors)
}

fn linear(node: &Node<'_>, targets: usize) -> Result<Width, Fault> {
    let intercepts = node.floats("intercepts");
    require(
        node,
        intercepts == targets || (intercepts == 0 && node.operator == "LinearRegressor"),
        "has intercepts of another number than its targets",
    )?;
    if node.operator == "LinearClassifier" {
        let classes = classes(node)?;
        require(
            node,
            targets == classes || (targets == 1 && classes == 2),
            "has intercepts of another number than its classes",
        )?;
    }
    width_of(node, node.floats("coefficients"), targets)
}

/// The width of rows of which `count` numbers make `rows`.
fn width_of(node: &Node<'_>, count: usize, rows: usize) -> Result<Width, Fault> {
    require(node, rows > 0 && count > 0 && count.is_multiple_of(rows), "has coefficients that are no whole rows")?;
    let kernel = node.attribute("kernel_params").map_or(3, |parameters| parameters.floats);
    require(node, kernel == 3, "has other than three kernel parameters")?;
    Ok(Width::Exactly(count / rows))
}
