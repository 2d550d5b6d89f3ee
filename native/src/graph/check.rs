//! May this ONNX be run at all? Nothing that reads files, never ends, or allocates by the values of a row.
//!
//! How allocation is bounded: no output's shape depends on the values of a row (the inputs that give shapes are constant or made
//! of `Shape` alone, by operations that grow with it), so what a run allocates depends on its number of rows only and grows with it;
//! and a run never has more than `engine::BLOCK_ROWS` rows, which loading tries.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;

use crate::error::Fault;
use crate::graph::ensembles;
use crate::graph::onnx::{Model, Node, refused};
use crate::graph::protobuf;

const MOST_NODES: usize = 20_000;
/// ONNX Runtime walks a graph recursively; fifteen times this crashes it while loading.
const LONGEST_CHAIN: usize = 1000;
/// Elements that a constant shape may ask for.
const MOST_ELEMENTS: u64 = 1 << 24;
/// Estimators that feed each other in a row, as in a chain of classifiers.
const MOST_LEVELS: usize = 128;
/// No dimension of a tensor that fits in memory has more bits.
const DIMENSION_BITS: u32 = 31;

/// Operators of the standard domain that Serval runs: each ends, reads no file, and gives shapes by its inputs' shapes
/// and by the inputs listed in `shape_inputs` alone.
const OPERATORS: &[&str] = &[
    "Abs",
    "Acos",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Atan",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Cos",
    "Cosh",
    "CumSum",
    "Div",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "Hardmax",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Squeeze",
    "StringConcat",
    "StringNormalizer",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// The same of `ai.onnx.ml`.
const ML_OPERATORS: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
];

const PRODUCTS: &[&str] =
    &["Einsum", "Gemm", "LinearClassifier", "LinearRegressor", "MatMul", "SVMClassifier", "SVMRegressor"];

/// Places of the inputs that say what shape an output has.
fn shape_inputs(operator: &str) -> &'static [usize] {
    match operator {
        "Range" => &[0, 1, 2],
        "ConstantOfShape" => &[0],
        "Slice" => &[1, 2, 3, 4],
        "Pad" => &[1, 3],
        "Reshape" | "Expand" | "Tile" | "OneHot" | "TopK" | "Split" | "Squeeze" | "Unsqueeze" => &[1],
        _ if operator.starts_with("Reduce") => &[1],
        _ => &[],
    }
}

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

/// What has to be true of the width of a node's input, known only when the model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub place: String,
    pub input: String,
    pub width: Width,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Exactly(usize),
    AtLeast(usize),
}

impl Width {
    pub fn is_met_by(self, width: usize) -> bool {
        match self {
            Self::Exactly(wanted) => width == wanted,
            Self::AtLeast(least) => width >= least,
        }
    }
}

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

/// Check all that can be told from the bytes; what is left are demands on widths.
pub fn check(onnx: &[u8]) -> Result<Checked, Fault> {
    let model = Model::read(onnx)?;
    check_domains(&model)?;
    if model.graph.nodes.len() > MOST_NODES {
        return Err(refused("the graph", &format!("has {} nodes, more than {MOST_NODES}", model.graph.nodes.len())));
    }
    let mut walk = Walk::begin(&model)?;
    let mut demands = vec![];
    for node in &model.graph.nodes {
        check_operator(node)?;
        walk.visit(node)?;
        demands.extend(ensembles::demand(node)?);
    }
    for output in &model.graph.outputs {
        walk.fact(output.name).ok_or_else(|| refused("the graph", "has an output that nothing makes"))?;
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
        _ => return Err(refused(&node.place(), "is of a domain other than `ai.onnx` and `ai.onnx.ml`")),
    };
    match known.binary_search(&node.operator) {
        Ok(_) => Ok(()),
        Err(_) => Err(refused(&node.place(), "is not one of the operators that Serval runs")),
    }
}

struct Fact {
    origin: Origin,
    /// Nodes on the longest way from an input.
    depth: usize,
}

/// A walk over the nodes in their order, which has to be one in which they can run.
struct Walk<'a> {
    facts: HashMap<&'a str, Fact>,
}

impl<'a> Walk<'a> {
    fn begin(model: &Model<'a>) -> Result<Self, Fault> {
        let mut walk = Self { facts: HashMap::new() };
        for input in &model.graph.inputs {
            walk.learn("the graph", input.name, Origin::Rows, 0)?;
        }
        for tensor in &model.graph.initializers {
            walk.learn("an initialiser", tensor.name, Origin::Constant { integers: small(tensor.integers()) }, 0)?;
        }
        Ok(walk)
    }

    fn learn(&mut self, place: &str, name: &'a str, origin: Origin, depth: usize) -> Result<(), Fault> {
        match self.facts.insert(name, Fact { origin, depth }) {
            None => Ok(()),
            Some(_) => Err(refused(place, "makes a value that is there already")),
        }
    }

    fn fact(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name)
    }

    fn visit(&mut self, node: &Node<'a>) -> Result<(), Fault> {
        let place = node.place();
        let mut depth = 0;
        for input in node.inputs.iter().filter(|input| !input.is_empty()) {
            let fact = self.fact(input).ok_or_else(|| refused(&place, "uses a value that no earlier node makes"))?;
            depth = depth.max(fact.depth + 1);
        }
        if depth > LONGEST_CHAIN {
            return Err(refused(&place, &format!("ends a chain of more than {LONGEST_CHAIN} nodes")));
        }
        self.check_shapes(node)?;
        let origin = self.origin(node);
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            self.learn(&place, output, origin.clone(), depth)?;
        }
        Ok(())
    }

    /// The origin of an input; one left out is constant.
    fn input(&self, node: &Node<'_>, place: usize) -> Origin {
        let fact = node.inputs.get(place).and_then(|name| self.fact(name));
        fact.map_or(Origin::Constant { integers: Some(vec![]) }, |fact| fact.origin.clone())
    }

    fn check_shapes(&self, node: &Node<'_>) -> Result<(), Fault> {
        let mut elements = 1_u64;
        for &place in shape_inputs(node.operator) {
            match self.input(node, place) {
                Origin::Rows => return Err(refused(&node.place(), "has a shape that depends on the values of a row")),
                Origin::Constant { integers: Some(integers) } => {
                    elements = elements.saturating_mul(asked(node.operator, place, &integers))
                }
                Origin::Constant { integers: None } | Origin::Dimensions { .. } => {}
            }
        }
        if elements > MOST_ELEMENTS {
            return Err(refused(&node.place(), &format!("asks for more than {MOST_ELEMENTS} elements")));
        }
        Ok(())
    }

    fn origin(&self, node: &Node<'_>) -> Origin {
        let inputs: Vec<Origin> = (0..node.inputs.len()).map(|place| self.input(node, place)).collect();
        if matches!(node.operator, "Shape" | "Size") {
            return Origin::Dimensions { bits: DIMENSION_BITS };
        }
        if node.operator == "Constant" {
            return Origin::Constant { integers: small(constant(node)) };
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

/// Bits of what a node makes of dimensions, where it makes something that grows with them and can not wrap around; else None.
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

/// Elements that constant integers ask for, as the input at `place` of an operator.
fn asked(operator: &str, place: usize, integers: &[i64]) -> u64 {
    let product =
        || integers.iter().fold(1_u64, |product, &integer| product.saturating_mul(integer.unsigned_abs().max(1)));
    match (operator, place) {
        ("ConstantOfShape" | "Expand" | "Tile" | "OneHot", _) | ("Range", 0 | 1) => product(),
        ("Pad", 1) => integers.iter().fold(1_u64, |sum, &integer| sum.saturating_add(integer.unsigned_abs())),
        _ => 1,
    }
}

/// Integers of a tensor as small as a shape.
fn small(integers: Option<Vec<i64>>) -> Option<Vec<i64>> {
    integers.filter(|integers| integers.len() <= 64)
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

/// A model whose outputs are some values of another.
pub struct Probe {
    pub names: Vec<String>,
    pub onnx: Vec<u8>,
}

/// Models that show widths instead of answering: each makes inputs that demands are about, from nodes whose own demands earlier ones have met.
///
pub fn probes(onnx: &[u8], demands: &[Demand]) -> Result<Vec<Probe>, Fault> {
    let model = Model::read(onnx)?;
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (place, node) in model.graph.nodes.iter().enumerate() {
        makers.extend(node.outputs.iter().map(|output| (*output, place)));
    }
    let levels = levels(&model, demands);
    let deepest = levels.values().copied().max().unwrap_or(0);
    if deepest > MOST_LEVELS {
        return Err(refused("the graph", &format!("has a chain of more than {MOST_LEVELS} estimators")));
    }
    let inputs: HashSet<&str> = model.graph.inputs.iter().map(|input| input.name).collect();
    let wanted: Vec<&str> = demands.iter().map(|demand| &*demand.input).filter(|name| !inputs.contains(name)).collect();
    Ok((0..=deepest)
        .map(|level| {
            let mut names: Vec<&str> =
                wanted.iter().copied().filter(|name| levels.get(name).copied().unwrap_or(0) == level).collect();
            names.sort_unstable();
            names.dedup();
            let bytes = if names.is_empty() { vec![] } else { part(&model, &makers, &names) };
            Probe { names: names.into_iter().map(str::to_owned).collect(), onnx: bytes }
        })
        .filter(|probe| !probe.names.is_empty())
        .collect())
}

/// For each value the number of nodes with demands on the way to it.
fn levels<'a>(model: &Model<'a>, demands: &[Demand]) -> HashMap<&'a str, usize> {
    let demanding: HashSet<&str> = demands.iter().map(|demand| &*demand.place).collect();
    let mut levels: HashMap<&str, usize> = HashMap::new();
    for node in &model.graph.nodes {
        let above = node.inputs.iter().filter_map(|input| levels.get(input)).max().copied().unwrap_or(0);
        let level = above + usize::from(demanding.contains(&*node.place()));
        levels.extend(node.outputs.iter().map(|output| (*output, level)));
    }
    levels
}

/// The part of a model that makes `names`, as a model of its own.
fn part(model: &Model<'_>, makers: &HashMap<&str, usize>, names: &[&str]) -> Vec<u8> {
    let mut needed: HashSet<&str> = HashSet::new();
    let mut nodes: Vec<usize> = vec![];
    let mut open: Vec<&str> = names.to_vec();
    while let Some(name) = open.pop() {
        if needed.insert(name)
            && let Some(&place) = makers.get(name)
        {
            nodes.push(place);
            open.extend(&model.graph.nodes[place].inputs);
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    let mut graph = vec![];
    for place in nodes {
        protobuf::write(&mut graph, 1, model.graph.nodes[place].bytes);
    }
    protobuf::write(&mut graph, 2, b"widths");
    for tensor in model.graph.initializers.iter().filter(|tensor| needed.contains(tensor.name)) {
        protobuf::write(&mut graph, 5, tensor.bytes);
    }
    model.graph.inputs.iter().for_each(|input| protobuf::write(&mut graph, 11, input.bytes));
    for name in names {
        let mut port = vec![];
        protobuf::write(&mut port, 1, name.as_bytes());
        protobuf::write(&mut graph, 12, &port);
    }
    let mut bytes = vec![];
    protobuf::write_int(&mut bytes, 1, model.ir_version);
    protobuf::write(&mut bytes, 7, &graph);
    model.opset_imports.iter().for_each(|opset| protobuf::write(&mut bytes, 8, opset));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_operators_are_sorted() {
        assert!(OPERATORS.is_sorted() && ML_OPERATORS.is_sorted());
    }

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

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in [&b"not a model"[..], b"", &[0x3a, 0xff, 0xff]] {
            assert!(matches!(check(bytes), Err(Fault::Graph(_))));
        }
    }
}
