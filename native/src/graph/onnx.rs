//! The parts of an ONNX model that Serval lets pass, read from protobuf; a field that it does not know is refused.

use crate::error::Fault;
use crate::graph::protobuf::{Fields, Malformed, Value};

/// A refusal that names the part of the model and the rule.
pub fn refused(part: &str, rule: &str) -> Fault {
    Fault::Graph(format!("{part}: {rule}"))
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        refused("the model", "is not a well-formed ONNX file")
    }
}

#[derive(Debug, Default)]
pub struct Model<'a> {
    pub ir_version: i64,
    /// Bytes of each.
    pub opset_imports: Vec<&'a [u8]>,
    pub graph: Graph<'a>,
}

#[derive(Debug, Default)]
pub struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub initializers: Vec<Tensor<'a>>,
    pub inputs: Vec<Port<'a>>,
    pub outputs: Vec<Port<'a>>,
}

/// An input or output of the graph.
#[derive(Debug)]
pub struct Port<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

#[derive(Debug, Default)]
pub struct Node<'a> {
    pub name: &'a str,
    pub operator: &'a str,
    pub domain: &'a str,
    /// An input left out has the empty name.
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attributes: Vec<Attribute<'a>>,
    pub bytes: &'a [u8],
}

#[derive(Debug, Default)]
pub struct Attribute<'a> {
    pub name: &'a str,
    pub int: i64,
    pub text: &'a [u8],
    pub tensor: Option<Tensor<'a>>,
    pub graph: Option<Box<Graph<'a>>>,
    /// How many floats it has.
    pub floats: usize,
    pub ints: Vec<i64>,
    pub texts: Vec<&'a [u8]>,
}

#[derive(Debug, Default)]
pub struct Tensor<'a> {
    pub name: &'a str,
    pub dimensions: Vec<i64>,
    pub dtype: i64,
    pub ints: Vec<i64>,
    pub raw: &'a [u8],
    pub bytes: &'a [u8],
}

/// Where a graph lies: one inside a node holds no other, so reading recurses once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outer,
    Inner,
}

const INT32: i64 = 6;
const INT64: i64 = 7;

/// Refuses the second writing of a field that is written once: readers differ in what they make of it.
#[derive(Default)]
struct Once(u64);

impl Once {
    fn see(&mut self, part: &str, number: u32) -> Result<(), Fault> {
        let bit = 1_u64.checked_shl(number).unwrap_or(0);
        if self.0 & bit != 0 {
            return Err(refused(part, "writes a field twice"));
        }
        self.0 |= bit;
        Ok(())
    }
}

impl<'a> Model<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut model = Self::default();
        let mut once = Once::default();
        let mut graph = None;
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            if matches!(number, 1..=7) {
                once.see("the model", number)?;
            }
            match number {
                1 => model.ir_version = value.int64()?,
                2..=4 | 6 => drop(value.text()?),
                5 => drop(value.int64()?),
                7 => graph = Some(value.bytes()?),
                8 => model.opset_imports.push(value.bytes()?),
                14 => drop(value.bytes()?),
                20 => return Err(refused("the model", "training information is never run")),
                25 => return Err(refused("the model", "functions of its own are never run")),
                _ => return Err(refused("the model", &format!("has the unknown field {number}"))),
            }
        }
        model.graph = Graph::read(graph.ok_or_else(|| refused("the model", "has no graph"))?, Nesting::Outer)?;
        Ok(model)
    }

    /// Domain and version of each operator set.
    pub fn opsets(&self) -> Result<Vec<(&'a str, i64)>, Fault> {
        self.opset_imports.iter().map(|bytes| opset(bytes)).collect()
    }
}

fn opset(bytes: &[u8]) -> Result<(&str, i64), Fault> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => domain = value.text()?,
            (2, value) => version = value.int64()?,
            (number, _) => return Err(refused("an operator set", &format!("has the unknown field {number}"))),
        }
    }
    Ok((domain, version))
}

impl<'a> Graph<'a> {
    fn read(bytes: &'a [u8], nesting: Nesting) -> Result<Self, Fault> {
        let mut graph = Self::default();
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            match number {
                1 => graph.nodes.push(Node::read(value.bytes()?, nesting)?),
                2 | 10 => drop(value.text()?),
                5 => graph.initializers.push(Tensor::read("an initialiser", value.bytes()?)?),
                11 => graph.inputs.push(Port::read(value.bytes()?)?),
                12 => graph.outputs.push(Port::read(value.bytes()?)?),
                13 | 16 => drop(value.bytes()?),
                15 => return Err(refused("the graph", "sparse initialisers are not read")),
                _ => return Err(refused("the graph", &format!("has the unknown field {number}"))),
            }
        }
        Ok(graph)
    }
}

impl<'a> Port<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut name = "";
        let mut once = Once::default();
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            once.see("an input or output", number)?;
            if number == 1 {
                name = value.text()?;
            }
        }
        Ok(Self { name, bytes })
    }
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8], nesting: Nesting) -> Result<Self, Fault> {
        let mut node = Self { bytes, ..Self::default() };
        let mut attributes = vec![];
        let mut once = Once::default();
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            match number {
                1 => node.inputs.push(value.text()?),
                2 => node.outputs.push(value.text()?),
                3 => node.name = value.text()?,
                4 => node.operator = value.text()?,
                5 => attributes.push(value.bytes()?),
                7 => node.domain = value.text()?,
                6 => drop(value.text()?),
                9 => drop(value.bytes()?),
                _ => return Err(refused(&node.location(), &format!("has the unknown field {number}"))),
            }
            if matches!(number, 3 | 4 | 7) {
                once.see(&node.location(), number)?;
            }
        }
        let location = node.location();
        node.attributes =
            attributes.into_iter().map(|bytes| Attribute::read(&location, bytes, nesting)).collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = node.attributes.iter().map(|attribute| attribute.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refused(&location, "has an attribute twice"));
        }
        Ok(node)
    }

    /// The graph that a loop runs.
    pub fn body(&self) -> Option<&Graph<'a>> {
        self.attribute("body").and_then(|attribute| attribute.graph.as_deref())
    }

    /// The tensors that it reads: its inputs, and what its body takes from the graph around.
    pub fn reads(&self) -> Vec<&'a str> {
        let mut names = self.inputs.clone();
        if let Some(body) = self.body() {
            names.extend(body.nodes.iter().flat_map(|node| node.inputs.iter().copied()));
            names.extend(body.outputs.iter().map(|output| output.name));
        }
        names
    }

    /// How messages name it.
    pub fn location(&self) -> String {
        let name = if self.name.is_empty() { self.outputs.first().copied().unwrap_or_default() } else { self.name };
        format!("node `{}` ({})", shown(name), shown(self.operator))
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.int)
    }

    pub fn ints(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub fn texts(&self, name: &str) -> &[&'a [u8]] {
        self.attribute(name).map_or(&[], |attribute| &attribute.texts)
    }

    /// How many floats an attribute has, of its own or, where it has none, in the tensor `{name}_as_tensor`.
    pub fn floats(&self, name: &str) -> usize {
        let own = self.attribute(name).map_or(0, |attribute| attribute.floats);
        let tensor = self.attribute(&format!("{name}_as_tensor")).and_then(|attribute| attribute.tensor.as_ref());
        tensor.map_or(own, |tensor| tensor.elements().unwrap_or(usize::MAX))
    }
}

/// A name from the model, fit for a message.
fn shown(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(80).collect()
}

impl<'a> Attribute<'a> {
    fn read(location: &str, bytes: &'a [u8], nesting: Nesting) -> Result<Self, Fault> {
        let mut attribute = Self::default();
        let mut once = Once::default();
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            if matches!(number, 1..=6) {
                once.see(location, number)?;
            }
            match number {
                1 => attribute.name = value.text()?,
                2 => drop(value.count32()?),
                3 => attribute.int = value.int64()?,
                4 => attribute.text = value.bytes()?,
                5 => attribute.tensor = Some(Tensor::read(location, value.bytes()?)?),
                6 if nesting == Nesting::Outer => {
                    attribute.graph = Some(Box::new(Graph::read(value.bytes()?, Nesting::Inner)?));
                }
                6 | 11 => {
                    return Err(refused(location, "a graph inside a node is never run but for the body of a loop"));
                }
                7 => attribute.floats += value.count32()?,
                8 => value.int64s(&mut attribute.ints)?,
                9 => attribute.texts.push(value.bytes()?),
                13 => drop(value.text()?),
                20 => drop(value.int64()?),
                22 | 23 => return Err(refused(location, "sparse tensors are not read")),
                _ => return Err(refused(location, &format!("has an attribute with the unknown field {number}"))),
            }
        }
        Ok(attribute)
    }
}

impl<'a> Tensor<'a> {
    fn read(location: &str, bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut tensor = Self { bytes, ..Self::default() };
        let mut once = Once::default();
        for field in Fields::of(bytes) {
            let (number, value) = field?;
            if matches!(number, 2 | 8 | 9) {
                once.see(location, number)?;
            }
            match number {
                1 => value.int64s(&mut tensor.dimensions)?,
                2 => tensor.dtype = value.int64()?,
                5 | 7 => value.int64s(&mut tensor.ints)?,
                4 | 6 | 10 | 11 | 16 => {}
                8 => tensor.name = value.text()?,
                9 => tensor.raw = value.bytes()?,
                12 => drop(value.text()?),
                14 if value == Value::Varint(0) => {}
                13 | 14 => return Err(refused(location, "a tensor may not lie in another file")),
                _ => return Err(refused(location, &format!("has a tensor with the unknown field {number}"))),
            }
        }
        if tensor.elements().is_none() {
            return Err(refused(location, "has a tensor of a size that cannot be"));
        }
        Ok(tensor)
    }

    /// The number of its elements, by its shape.
    pub fn elements(&self) -> Option<usize> {
        self.dimensions
            .iter()
            .try_fold(1_usize, |count, &dimension| count.checked_mul(usize::try_from(dimension).ok()?))
            .filter(|&count| count <= 1 << 40)
    }

    /// Its integers, where it holds such.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self.dtype {
            INT32 | INT64 if self.raw.is_empty() => Some(self.ints.clone()),
            INT32 => {
                Some(self.raw.as_chunks::<4>().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
            }
            INT64 => Some(self.raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
            _ => None,
        }
    }
}
