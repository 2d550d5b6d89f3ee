//! One row of a JSON body through ONNX Runtime, and its JSON answer.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::AsPointer;
use ort::environment::Environment;
use ort::session::Session;
use ort::sys;
use serde::Deserialize;

use crate::Fault;

const COLUMNS: usize = 4;
const CLASSES: usize = 3;

/// A loaded graph: `[rows, 4]` numbers in; labels and `[rows, 3]` probabilities out.
pub struct Model {
    session: Session,
    input: CString,
    outputs: [CString; 2],
}

impl Model {
    pub fn load(library: &Path, file: &Path) -> Result<Self, Fault> {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
        let environment = ort::init_from(library)?.with_name("limit").with_telemetry(false).build()?;
        let session = opened(&environment, &std::fs::read(file)?)?;
        let input = CString::new(session.inputs()[0].name())?;
        let outputs = [CString::new(session.outputs()[0].name())?, CString::new(session.outputs()[1].name())?];
        Ok(Self { session, input, outputs })
    }
}

/// One thread and nothing that runs share, as each run has tensors of its own.
fn opened(environment: &Environment, onnx: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_execution_providers([ort::ep::CPU::default().with_arena_allocator(false).build().error_on_failure()])?
        .with_memory_pattern(false)?
        .with_parallel_execution(false)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_memory(onnx)
}

/// The tensors of a thread, made once: a run reads `features` and writes the rest.
struct Runner {
    model: Arc<Model>,
    numbers: Box<Numbers>,
    input: *mut sys::OrtValue,
    outputs: [*mut sys::OrtValue; 2],
}

#[derive(Default)]
struct Numbers {
    features: [f32; COLUMNS],
    label: [i64; 1],
    probabilities: [f32; CLASSES],
}

impl Runner {
    fn new(model: Arc<Model>) -> Result<Self, Fault> {
        use sys::ONNXTensorElementDataType::{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64};
        let mut numbers = Box::<Numbers>::default();
        let input = tensor(&mut numbers.features, &[1, 4], ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)?;
        let label = tensor(&mut numbers.label, &[1], ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)?;
        let probabilities = tensor(&mut numbers.probabilities, &[1, 3], ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)?;
        Ok(Self { model, numbers, input, outputs: [label, probabilities] })
    }

    /// The label of a row, and its probability.
    fn run(&mut self, features: [f32; COLUMNS]) -> Result<(i64, f32), Fault> {
        self.numbers.features = features;
        let names: [*const c_char; 2] = [self.model.outputs[0].as_ptr(), self.model.outputs[1].as_ptr()];
        let (input, name) = (self.input.cast_const(), self.model.input.as_ptr());
        // SAFETY: session, names and tensors live as long as `self`, whose thread alone touches the tensors; ONNX Runtime documents
        // `Run` as safe for concurrent calls on one session.
        checked(unsafe {
            (ort::api().Run)(
                self.model.session.inner().ptr().cast_mut(),
                ptr::null(),
                &raw const name,
                &raw const input,
                1,
                names.as_ptr(),
                2,
                self.outputs.as_mut_ptr(),
            )
        })?;
        let label = self.numbers.label[0];
        Ok((label, self.numbers.probabilities[usize::try_from(label)?]))
    }
}

/// A tensor over `numbers`, which have to stay where they are; never released.
fn tensor<T>(numbers: &mut [T], shape: &[i64], dtype: sys::ONNXTensorElementDataType) -> Result<*mut sys::OrtValue, Fault> {
    let (mut memory, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `numbers` is as long as the shape says, and in a box that is kept beside the tensor.
    unsafe {
        let (allocator, kind) = (sys::OrtAllocatorType::OrtDeviceAllocator, sys::OrtMemType::OrtMemTypeDefault);
        checked((ort::api().CreateCpuMemoryInfo)(allocator, kind, &raw mut memory))?;
        let (data, bytes) = (numbers.as_mut_ptr().cast::<c_void>(), size_of_val(numbers));
        checked((ort::api().CreateTensorWithDataAsOrtValue)(memory, data, bytes, shape.as_ptr(), shape.len(), dtype, &raw mut value))?;
    }
    Ok(value)
}

fn checked(status: sys::OrtStatusPtr) -> Result<(), Fault> {
    if status.0.is_null() { Ok(()) } else { Err("ONNX Runtime failed".into()) }
}

/// What a thread answers with.
pub struct Answerer {
    runner: Runner,
    /// Answers given before, by the bits of their rows; None: each is computed.
    known: Option<HashMap<[u32; COLUMNS], (i64, f32)>>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    model_name: &'a str,
    features: [f32; COLUMNS],
}

impl Answerer {
    pub fn new(model: &Arc<Model>, remembers: bool) -> Result<Self, Fault> {
        Ok(Self { runner: Runner::new(Arc::clone(model))?, known: remembers.then(HashMap::new) })
    }

    pub fn answer(&mut self, body: &[u8]) -> Result<Vec<u8>, Fault> {
        let started = Instant::now();
        let asked: Asked<'_> = serde_json::from_slice(body)?;
        if asked.model_name != "iris" {
            return Err("no such model".into());
        }
        let row = asked.features.map(f32::to_bits);
        let known = self.known.as_ref().and_then(|known| known.get(&row)).copied();
        let (label, probability) = match known {
            Some(known) => known,
            None => self.runner.run(asked.features)?,
        };
        if let (Some(answers), None) = (&mut self.known, known) {
            answers.insert(row, (label, probability));
        }
        Ok(written(label, probability, started.elapsed(), known.is_some()))
    }
}

fn written(label: i64, probability: f32, latency: Duration, is_hit: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"prediction\":");
    out.extend_from_slice(itoa::Buffer::new().format(label).as_bytes());
    out.extend_from_slice(b",\"probability\":");
    out.extend_from_slice(zmij::Buffer::new().format(probability).as_bytes());
    out.extend_from_slice(b",\"latency_ms\":");
    out.extend_from_slice(zmij::Buffer::new().format(latency.as_secs_f32() * 1e3).as_bytes());
    out.extend_from_slice(if is_hit { b",\"cache_hit\":true}" } else { b",\"cache_hit\":false}" });
    out
}
