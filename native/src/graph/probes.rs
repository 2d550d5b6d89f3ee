//! Models that show the widths of tensors, cut out of a model.

use std::collections::{HashMap, HashSet};

use crate::error::Fault;
use crate::graph::demand::Demand;
use crate::graph::onnx::{Model, refused};
use crate::graph::protobuf;

/// Estimators that feed each other in a row, as in a chain of classifiers.
const MAX_LEVELS: usize = 128;

/// A model whose outputs are some tensors of another.
pub struct Probe {
    pub names: Vec<String>,
    pub onnx: Vec<u8>,
}

/// Probes whose outputs are the inputs that demands are about. Each uses only nodes whose own demands earlier probes
/// have met.
pub fn width_probes(onnx: &[u8], demands: &[Demand]) -> Result<Vec<Probe>, Fault> {
    let model = Model::read(onnx)?;
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in model.graph.nodes.iter().enumerate() {
        makers.extend(node.outputs.iter().map(|output| (*output, index)));
    }
    let levels = levels(&model, demands);
    let deepest = levels.values().copied().max().unwrap_or(0);
    if deepest > MAX_LEVELS {
        return Err(refused("the graph", &format!("has a chain of more than {MAX_LEVELS} estimators")));
    }
    let inputs: HashSet<&str> = model.graph.inputs.iter().map(|input| input.name).collect();
    let probed: Vec<&str> = demands.iter().map(|demand| &*demand.input).filter(|name| !inputs.contains(name)).collect();
    Ok((0..=deepest)
        .map(|level| {
            let mut names: Vec<&str> =
                probed.iter().copied().filter(|name| levels.get(name).copied().unwrap_or(0) == level).collect();
            names.sort_unstable();
            names.dedup();
            let bytes = if names.is_empty() { vec![] } else { submodel(&model, &makers, &names) };
            Probe { names: names.into_iter().map(str::to_owned).collect(), onnx: bytes }
        })
        .filter(|probe| !probe.names.is_empty())
        .collect())
}

/// For each tensor the number of nodes with demands on the path to it.
fn levels<'a>(model: &Model<'a>, demands: &[Demand]) -> HashMap<&'a str, usize> {
    let demanding: HashSet<&str> = demands.iter().map(|demand| &*demand.node).collect();
    let mut levels: HashMap<&str, usize> = HashMap::new();
    for node in &model.graph.nodes {
        let above = node.reads().iter().filter_map(|input| levels.get(input)).max().copied().unwrap_or(0);
        let level = above + usize::from(demanding.contains(&*node.location()));
        levels.extend(node.outputs.iter().map(|output| (*output, level)));
    }
    levels
}

/// The part of a model that makes `names`, as a model of its own.
fn submodel(model: &Model<'_>, makers: &HashMap<&str, usize>, names: &[&str]) -> Vec<u8> {
    let mut needed: HashSet<&str> = HashSet::new();
    let mut nodes: Vec<usize> = vec![];
    let mut open: Vec<&str> = names.to_vec();
    while let Some(name) = open.pop() {
        if needed.insert(name)
            && let Some(&index) = makers.get(name)
        {
            nodes.push(index);
            open.extend(model.graph.nodes[index].reads());
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    let mut graph = vec![];
    for index in nodes {
        protobuf::write(&mut graph, 1, model.graph.nodes[index].bytes);
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
