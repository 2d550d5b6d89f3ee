//! The one form of loop that Serval runs: a constant bounds its rounds, and what it carries keeps its shape.
//!
//! Every carried value is made from the carried value of the round before by `ScatterElements`, whose output has the
//! shape of its data. So all shapes in the body are the same in every round, and a loop allocates what one round does.

use crate::error::Fault;
use crate::graph::onnx::{Graph, Node, refused};
use crate::graph::operators::BODY_OPERATORS;
use crate::graph::shapes::ShapeCheck;

/// Nodes that all loops of a graph may run: rounds times nodes of the body.
pub const MAX_STEPS: usize = 1 << 20;
/// The rounds and the condition, before what is carried.
const CONTROLS: usize = 2;

pub fn is_loop(node: &Node<'_>) -> bool {
    node.operator == "Loop" && matches!(node.domain, "" | "ai.onnx")
}

/// The nodes that the loop runs at most.
pub fn check<'a>(node: &Node<'a>, shapes: &mut ShapeCheck<'a>) -> Result<usize, Fault> {
    let location = node.location();
    let body = node.body().ok_or_else(|| refused(&location, "has no body"))?;
    if node.attributes.len() != 1 {
        return Err(refused(&location, "has attributes beside its body"));
    }
    let rounds = node
        .inputs
        .first()
        .and_then(|name| shapes.integer(name))
        .and_then(|rounds| usize::try_from(rounds).ok())
        .filter(|&rounds| rounds >= 1)
        .ok_or_else(|| refused(&location, "has no constant number of rounds"))?;
    let carried = node.inputs.len().saturating_sub(CONTROLS);
    if carried == 0
        || node.inputs.iter().any(|input| input.is_empty())
        || node.outputs.len() != carried
        || body.inputs.len() != carried + CONTROLS
        || body.outputs.len() != carried + 1
    {
        return Err(refused(&location, "does not carry each of its values from round to round"));
    }
    for inner in &body.nodes {
        let is_known = matches!(inner.domain, "" | "ai.onnx") && BODY_OPERATORS.binary_search(&inner.operator).is_ok();
        if !is_known || inner.attributes.iter().any(|attribute| attribute.graph.is_some()) {
            return Err(refused(&inner.location(), "is not one of the operators that the body of a loop may have"));
        }
    }
    for index in 0..carried {
        if !keeps_shape(body, body.outputs[index + 1].name, body.inputs[index + CONTROLS].name) {
            return Err(refused(&location, "may change the shape of what it carries"));
        }
    }
    shapes.visit_loop(node, body)?;
    Ok(rounds.saturating_mul(body.nodes.len()))
}

/// Whether a value is made from the carried one by `ScatterElements` alone, as its data.
fn keeps_shape(body: &Graph<'_>, output: &str, carried: &str) -> bool {
    let mut name = output;
    for node in body.nodes.iter().rev() {
        if node.outputs.contains(&name) {
            match node.inputs.first() {
                Some(data) if node.operator == "ScatterElements" => name = data,
                _ => return false,
            }
        }
    }
    name == carried && name != output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::onnx::Port;

    fn port(name: &'static str) -> Port<'static> {
        Port { name, bytes: b"" }
    }

    fn body_of(operator: &'static str, data: &'static str) -> Graph<'static> {
        let node =
            Node { operator, inputs: vec![data, "indices", "updates"], outputs: vec!["next"], ..Node::default() };
        Graph { nodes: vec![node], inputs: vec![port("carried")], outputs: vec![port("next")], ..Graph::default() }
    }

    #[test]
    fn only_what_scatters_into_the_carried_value_keeps_its_shape() {
        assert!(keeps_shape(&body_of("ScatterElements", "carried"), "next", "carried"));
        assert!(!keeps_shape(&body_of("ScatterElements", "other"), "next", "carried"));
        assert!(!keeps_shape(&body_of("Where", "carried"), "next", "carried"));
        assert!(!keeps_shape(&body_of("ScatterElements", "carried"), "carried", "carried"));
    }
}
