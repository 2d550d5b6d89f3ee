//! Do the values of a row decide a shape? Follows the origin of every tensor through the graph.

use std::collections::HashMap;

use crate::error::Fault;
use crate::graph::onnx::{Graph, Model, Node, refused};
use crate::graph::operators::shape_inputs;

/// ONNX Runtime walks a graph recursively; fifteen times this crashes it while loading.
const MAX_CHAIN: usize = 1000;
/// Elements that a constant shape may ask for.
const MAX_ELEMENTS: u64 = 1 << 24;
/// No dimension of a tensor that fits in memory has more bits.
const DIMENSION_BITS: u32 = 31;
/// Constants with more elements are no shape, so their values are not kept.
const MAX_SHAPE_ELEMENTS: usize = 64;

/// What the values of a tensor can depend on.
#[derive(Debug, Clone, PartialEq)]
enum Origin {
    /// Nothing. `integers`: its values, where they are known.
    Constant { integers: Option<Vec<i64>> },
    /// The number of rows, with which it grows; no value has more bits.
    Dimensions { bits: u32 },
    /// The values of the rows.
    Rows,
}

struct Fact {
    origin: Origin,
    /// Nodes on the longest path from an input.
    depth: usize,
    /// It was made inside a loop that has ended.
    is_over: bool,
}

/// Visits the nodes in their order, which has to be one in which they can run.
pub struct ShapeCheck<'a> {
    facts: HashMap<&'a str, Fact>,
}

impl<'a> ShapeCheck<'a> {
    pub fn begin(model: &Model<'a>) -> Result<Self, Fault> {
        let mut check = Self { facts: HashMap::new() };
        for input in &model.graph.inputs {
            check.learn("the graph", input.name, Origin::Rows, 0)?;
        }
        for tensor in &model.graph.initializers {
            check.learn(
                "an initialiser",
                tensor.name,
                Origin::Constant { integers: shape_like(tensor.integers()) },
                0,
            )?;
        }
        Ok(check)
    }

    fn learn(&mut self, part: &str, name: &'a str, origin: Origin, depth: usize) -> Result<(), Fault> {
        match self.facts.insert(name, Fact { origin, depth, is_over: false }) {
            None => Ok(()),
            Some(_) => Err(refused(part, "makes a value that is there already")),
        }
    }

    /// Whether an input, an initialiser or a visited node makes a tensor.
    pub fn knows(&self, name: &str) -> bool {
        self.fact(name).is_some()
    }

    fn fact(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name).filter(|fact| !fact.is_over)
    }

    /// The one integer that a tensor is known to be.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.fact(name).map(|fact| &fact.origin) {
            Some(Origin::Constant { integers: Some(integers) }) if integers.len() == 1 => integers.first().copied(),
            _ => None,
        }
    }

    /// Visits a loop: its body's inputs hold what it is given, and what its body makes is unknown outside.
    pub fn visit_loop(&mut self, node: &Node<'a>, body: &Graph<'a>) -> Result<(), Fault> {
        let location = node.location();
        let depth = self.depth(node)?;
        let mut inner: Vec<&'a str> = vec![];
        for input in &body.inputs {
            self.learn(&location, input.name, Origin::Rows, depth)?;
            inner.push(input.name);
        }
        for tensor in &body.initializers {
            self.learn(&location, tensor.name, Origin::Constant { integers: shape_like(tensor.integers()) }, 0)?;
            inner.push(tensor.name);
        }
        for node in &body.nodes {
            self.visit(node)?;
            inner.extend(node.outputs.iter().filter(|output| !output.is_empty()));
        }
        let mut end = depth;
        for output in &body.outputs {
            let fact = self.fact(output.name).ok_or_else(|| refused(&location, "has an output that nothing makes"))?;
            end = end.max(fact.depth + 1);
        }
        for name in inner {
            if let Some(fact) = self.facts.get_mut(name) {
                fact.is_over = true;
            }
        }
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            self.learn(&location, output, Origin::Rows, end)?;
        }
        Ok(())
    }

    /// The nodes on the longest path to a node, itself among them.
    fn depth(&self, node: &Node<'a>) -> Result<usize, Fault> {
        let mut depth = 0;
        for input in node.inputs.iter().filter(|input| !input.is_empty()) {
            let fact =
                self.fact(input).ok_or_else(|| refused(&node.location(), "uses a value that no earlier node makes"))?;
            depth = depth.max(fact.depth + 1);
        }
        if depth > MAX_CHAIN {
            return Err(refused(&node.location(), &format!("ends a chain of more than {MAX_CHAIN} nodes")));
        }
        Ok(depth)
    }

    pub fn visit(&mut self, node: &Node<'a>) -> Result<(), Fault> {
        let location = node.location();
        let depth = self.depth(node)?;
        self.check_shapes(node)?;
        let origin = self.origin(node);
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            self.learn(&location, output, origin.clone(), depth)?;
        }
        Ok(())
    }

    /// The origin of an input; one left out is constant.
    fn input(&self, node: &Node<'_>, index: usize) -> Origin {
        let fact = node.inputs.get(index).and_then(|name| self.fact(name));
        fact.map_or(Origin::Constant { integers: Some(vec![]) }, |fact| fact.origin.clone())
    }

    fn check_shapes(&self, node: &Node<'_>) -> Result<(), Fault> {
        let mut elements = 1_u64;
        for &index in shape_inputs(node.operator) {
            match self.input(node, index) {
                Origin::Rows => {
                    return Err(refused(&node.location(), "has a shape that depends on the values of a row"));
                }
                Origin::Constant { integers: Some(integers) } => {
                    elements = elements.saturating_mul(requested_elements(node.operator, index, &integers));
                }
                Origin::Constant { integers: None } | Origin::Dimensions { .. } => {}
            }
        }
        if elements > MAX_ELEMENTS {
            return Err(refused(&node.location(), &format!("asks for more than {MAX_ELEMENTS} elements")));
        }
        Ok(())
    }

    fn origin(&self, node: &Node<'_>) -> Origin {
        let inputs: Vec<Origin> = (0..node.inputs.len()).map(|index| self.input(node, index)).collect();
        if matches!(node.operator, "Shape" | "Size") {
            return Origin::Dimensions { bits: DIMENSION_BITS };
        }
        if node.operator == "Constant" {
            return Origin::Constant { integers: shape_like(constant(node)) };
        }
        if inputs.iter().all(|input| matches!(input, Origin::Constant { .. })) {
            return Origin::Constant { integers: None };
        }
        if inputs.contains(&Origin::Rows) {
            return Origin::Rows;
        }
        dimensions(node, &inputs).map_or(Origin::Rows, |bits| Origin::Dimensions { bits })
    }
}

/// Bits of what a node makes of dimensions, where it makes something that grows with them and cannot wrap around; else
/// None.
fn dimensions(node: &Node<'_>, inputs: &[Origin]) -> Option<u32> {
    let bits = inputs.iter().map(bits);
    match node.operator {
        "Concat" | "Max" => bits.collect::<Option<Vec<u32>>>()?.into_iter().max(),
        "Gather" | "Slice" | "Unsqueeze" | "Squeeze" | "Identity" | "Reshape" => inputs[1..]
            .iter()
            .all(|input| matches!(input, Origin::Constant { .. }))
            .then(|| bits.clone().next().flatten())?,
        "Cast" if node.int("to") == Some(7) => bits.clone().next()?,
        "Mul" => bits.sum::<Option<u32>>().filter(|&sum| sum <= 62),
        "Add" => {
            bits.map(|bits| Some(bits? + 1)).collect::<Option<Vec<u32>>>()?.into_iter().max().filter(|&most| most <= 62)
        }
        _ => None,
    }
}

/// Bits of the largest value; None where one may be negative or is not known.
fn bits(origin: &Origin) -> Option<u32> {
    match origin {
        Origin::Dimensions { bits } => Some(*bits),
        Origin::Constant { integers: Some(integers) } => {
            let largest = integers
                .iter()
                .map(|&integer| u64::try_from(integer).ok())
                .collect::<Option<Vec<u64>>>()?
                .into_iter()
                .max();
            Some(64 - largest.unwrap_or(0).leading_zeros())
        }
        _ => None,
    }
}

/// Elements that constant integers request as the input at `index` of an operator.
fn requested_elements(operator: &str, index: usize, integers: &[i64]) -> u64 {
    let product =
        || integers.iter().fold(1_u64, |product, &integer| product.saturating_mul(integer.unsigned_abs().max(1)));
    match (operator, index) {
        ("ConstantOfShape" | "Expand" | "Tile" | "OneHot", _) | ("Range", 0 | 1) => product(),
        ("Pad", 1) => integers.iter().fold(1_u64, |sum, &integer| sum.saturating_add(integer.unsigned_abs())),
        _ => 1,
    }
}

/// Integers of a tensor that is small enough to be a shape.
fn shape_like(integers: Option<Vec<i64>>) -> Option<Vec<i64>> {
    integers.filter(|integers| integers.len() <= MAX_SHAPE_ELEMENTS)
}

fn constant(node: &Node<'_>) -> Option<Vec<i64>> {
    if let Some(tensor) = node.attribute("value").and_then(|attribute| attribute.tensor.as_ref()) {
        return tensor.integers();
    }
    match node.attribute("value_ints") {
        Some(attribute) => Some(attribute.ints.clone()),
        None => node.int("value_int").map(|integer| vec![integer]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_the_rows_may_be_a_shape() {
        let node = |operator| Node { operator, ..Node::default() };
        let dimensions_of = |bits| Origin::Dimensions { bits };
        let constant = |integer| Origin::Constant { integers: Some(vec![integer]) };
        assert_eq!(dimensions(&node("Mul"), &[dimensions_of(31), constant(4)]), Some(34));
        assert_eq!(dimensions(&node("Mul"), &[dimensions_of(31), constant(-4)]), None);
        assert_eq!(dimensions(&node("Mul"), &[dimensions_of(62), dimensions_of(31)]), None);
        assert_eq!(dimensions(&node("Concat"), &[constant(1), dimensions_of(31)]), Some(31));
        assert_eq!(dimensions(&node("Sub"), &[constant(100), dimensions_of(31)]), None);
    }
}
