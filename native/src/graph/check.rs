//! May this ONNX be run at all? Nothing that reads files, never ends, or allocates by the values of a row.
//!
//! How allocation is bounded: no output's shape depends on the values of a row (the inputs that give shapes are
//! constant or made of `Shape` alone, by operations that grow with it), so what a run allocates depends on its number
//! of rows only and grows with it; and a run never has more than `engine::BLOCK_ROWS` rows, which loading tries. A loop
//! keeps the shapes of what it carries, and its number of rounds is bounded by a constant.

use pyo3::prelude::*;

use crate::error::Fault;
use crate::graph::demand::Demand;
use crate::graph::ensembles;
use crate::graph::loops;
use crate::graph::onnx::{Model, Node, refused};
use crate::graph::operators::{ML_OPERATORS, OPERATORS, PRODUCTS};
use crate::graph::shapes::ShapeCheck;

const MAX_NODES: usize = 20_000;

#[pyfunction]
pub fn check_graph(py: Python<'_>, onnx: &[u8]) -> Result<(), Fault> {
    py.detach(|| check(onnx).map(drop))
}

/// What the engine has to know of a graph that may be run.
#[derive(Debug)]
pub struct Checked {
    pub demands: Vec<Demand>,
    /// It multiplies matrices, for which there are kernels for one row that round otherwise than those for many.
    pub has_products: bool,
}

/// Checks all that the bytes show; what remains are demands on widths.
pub fn check(onnx: &[u8]) -> Result<Checked, Fault> {
    let model = Model::read(onnx)?;
    check_domains(&model)?;
    if model.graph.nodes.len() > MAX_NODES {
        return Err(refused("the graph", &format!("has {} nodes, more than {MAX_NODES}", model.graph.nodes.len())));
    }
    let mut shapes = ShapeCheck::begin(&model)?;
    let mut demands = vec![];
    let mut steps = 0;
    for node in &model.graph.nodes {
        if loops::is_loop(node) {
            steps += loops::check(node, &mut shapes)?;
            continue;
        }
        check_operator(node)?;
        shapes.visit(node)?;
        demands.extend(ensembles::demand(node)?);
    }
    if steps > loops::MAX_STEPS {
        return Err(refused("the graph", &format!("has loops of more than {} steps in all", loops::MAX_STEPS)));
    }
    for output in &model.graph.outputs {
        if !shapes.knows(output.name) {
            return Err(refused("the graph", "has an output that nothing makes"));
        }
    }
    let has_products = model.graph.nodes.iter().any(|node| PRODUCTS.contains(&node.operator));
    Ok(Checked { demands, has_products })
}

fn check_domains(model: &Model<'_>) -> Result<(), Fault> {
    for (domain, _) in model.opsets()? {
        if !matches!(domain, "" | "ai.onnx" | "ai.onnx.ml") {
            return Err(refused("the model", "imports operators of a domain other than `ai.onnx` and `ai.onnx.ml`"));
        }
    }
    Ok(())
}

fn check_operator(node: &Node<'_>) -> Result<(), Fault> {
    let known = match node.domain {
        "" | "ai.onnx" => OPERATORS,
        "ai.onnx.ml" => ML_OPERATORS,
        _ => return Err(refused(&node.location(), "is of a domain other than `ai.onnx` and `ai.onnx.ml`")),
    };
    if node.attributes.iter().any(|attribute| attribute.graph.is_some()) {
        return Err(refused(&node.location(), "holds a graph and is no loop"));
    }
    match known.binary_search(&node.operator) {
        Ok(_) => Ok(()),
        Err(_) => Err(refused(&node.location(), "is not one of the operators that Serval runs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in [&b"not a model"[..], b"", &[0x3a, 0xff, 0xff]] {
            assert!(matches!(check(bytes), Err(Fault::Graph(_))));
        }
    }
}
