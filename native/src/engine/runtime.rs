//! ONNX Runtime: open the library once, load a graph from bytes, run it from any thread.
//!
//! The only index that calls its C interface.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock};

use ort::AsPointer;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::SharedSessionInner;
use ort::sys;
use ort::value::{TensorElementType, ValueType};

use crate::error::Fault;
use crate::sync::lock;

struct Library {
    path: PathBuf,
    environment: Environment,
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// Open ONNX Runtime; a process has one, so another path is an error.
pub fn open(path: &Path) -> Result<(), Fault> {
    static OPENING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = lock(&OPENING);
    match LIBRARY.get() {
        Some(opened) if opened.path == path => Ok(()),
        Some(opened) => Err(Fault::load(format!("ONNX Runtime is already open: `{}`", opened.path.display()))),
        None => {
            let cannot = |error: &dyn std::fmt::Display| Fault::load(format!("ONNX Runtime cannot be opened: {error}"));
            turn_telemetry_off();
            let environment = ort::init_from(path)
                .map_err(|error| cannot(&error))?
                .with_name("serval")
                .with_telemetry(false)
                .build()
                .map_err(|error| cannot(&error))?;
            environment.set_log_level(LogLevel::Fatal);
            LIBRARY.get_or_init(|| Library { path: path.to_owned(), environment });
            Ok(())
        }
    }
}

/// The official builds report each session to their maker, and keep a database of it below the home folder, from the
/// moment the environment is made: `with_telemetry(false)` comes too late.
fn turn_telemetry_off() {
    // SAFETY: Python holds the GIL while it writes the environment, and we are called with it or before other threads
    // start; nothing else in this process reads the environment while the data plane is made.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

/// Version and build of ONNX Runtime.
pub fn build() -> &'static str {
    ort::info()
}

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Float32,
    Float64,
    Int64,
    String,
}

/// An input or output of a graph.
#[derive(Debug)]
pub struct Port {
    pub name: String,
    /// None: not a tensor, or of an element Serval has no use for.
    pub element: Option<Element>,
    pub dimensions: usize,
}

/// Rows to feed to an input, row-major.
pub enum Input<'a> {
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Strings(&'a [&'a str]),
}

/// An output tensor.
#[derive(Debug)]
pub enum Data<'a> {
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Int64(&'a [i64]),
}

/// A loaded graph; runs of it may overlap.
pub struct Session {
    loaded: ort::session::Session,
    shared: Arc<SharedSessionInner>,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

impl Session {
    /// Load a graph that `check_graph` has let pass: one thread, in order, without arena and memory pattern, so runs
    /// share nothing.
    pub fn load(onnx: &[u8]) -> Result<Self, Fault> {
        let opened = LIBRARY.get().ok_or_else(|| Fault::load("ONNX Runtime is not open"))?;
        let session = build_session(&opened.environment, onnx)
            .map_err(|error| Fault::load(format!("ONNX Runtime refused the model: {error}")))?;
        let names = |ports: &[ort::value::Outlet]| {
            ports.iter().map(|port| c_string(port.name())).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            inputs: names(session.inputs())?,
            outputs: names(session.outputs())?,
            shared: session.inner(),
            loaded: session,
        })
    }

    pub fn inputs(&self) -> Vec<Port> {
        self.loaded.inputs().iter().map(|port| described(port.name(), port.dtype())).collect()
    }

    pub fn outputs(&self) -> Vec<Port> {
        self.loaded.outputs().iter().map(|port| described(port.name(), port.dtype())).collect()
    }

    /// Run rows: `inputs` in the order of the graph's, each `[rows, its length / rows]`. `read` gets the outputs: their
    /// shapes and elements.
    pub fn run<T>(
        &self,
        rows: usize,
        inputs: &[Input<'_>],
        mut read: impl FnMut(usize, &[i64], Data<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let values = inputs.iter().map(|input| Value::of(rows, input)).collect::<Result<Vec<_>, _>>()?;
        let outputs = self.run_values(&values)?;
        outputs.iter().enumerate().map(|(index, output)| output.read(|shape, data| read(index, shape, data))).collect()
    }

    /// Shapes of the outputs of one run.
    pub fn shapes(&self, rows: usize, inputs: &[Input<'_>]) -> Result<Vec<Vec<i64>>, Fault> {
        let values = inputs.iter().map(|input| Value::of(rows, input)).collect::<Result<Vec<_>, _>>()?;
        self.run_values(&values)?.iter().map(|output| Ok(output.shape()?.0)).collect()
    }

    /// `Run` of the C interface on a shared session; the safe crate asks for `&mut`, which would serialise all threads.
    fn run_values(&self, inputs: &[Value]) -> Result<Vec<Value>, Fault> {
        let input_names: Vec<*const c_char> = self.inputs.iter().map(|name| name.as_ptr()).collect();
        let output_names: Vec<*const c_char> = self.outputs.iter().map(|name| name.as_ptr()).collect();
        let input_values: Vec<*const sys::OrtValue> =
            inputs.iter().map(|value| value.0.as_ptr().cast_const()).collect();
        let mut output_values = vec![ptr::null_mut(); output_names.len()];
        if input_values.len() != input_names.len() {
            return Err(Fault::load("the graph has other inputs than its signature"));
        }
        // SAFETY: session, names and values live through the call, and the lengths are theirs. ONNX Runtime documents
        // `Run` as safe for concurrent calls on one session; what made it not so, allocators shared between runs, is
        // off (no arena, no memory pattern).
        let status = unsafe {
            (ort::api().Run)(
                self.shared.ptr().cast_mut(),
                ptr::null(),
                input_names.as_ptr(),
                input_values.as_ptr(),
                input_names.len(),
                output_names.as_ptr(),
                output_names.len(),
                output_values.as_mut_ptr(),
            )
        };
        let outputs: Vec<Option<Value>> =
            output_values.into_iter().map(|value| NonNull::new(value).map(Value)).collect();
        checked(status)?;
        outputs.into_iter().collect::<Option<_>>().ok_or_else(|| Fault::load("the graph left out an output"))
    }
}

fn build_session(environment: &Environment, onnx: &[u8]) -> ort::Result<ort::session::Session> {
    ort::session::Session::builder(environment)?
        .with_execution_providers([ort::ep::CPU::default().with_arena_allocator(false).build().error_on_failure()])?
        .with_memory_pattern(false)?
        .with_parallel_execution(false)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_memory(onnx)
}

fn c_string(name: &str) -> Result<CString, Fault> {
    CString::new(name).map_err(|_| Fault::load("a name in the graph holds a zero byte"))
}

fn described(name: &str, dtype: &ValueType) -> Port {
    let (element, dimensions) = match dtype {
        ValueType::Tensor { ty, shape, .. } => (element(*ty), shape.len()),
        _ => (None, 0),
    };
    Port { name: name.to_owned(), element, dimensions }
}

fn element(dtype: TensorElementType) -> Option<Element> {
    match dtype {
        TensorElementType::Float32 => Some(Element::Float32),
        TensorElementType::Float64 => Some(Element::Float64),
        TensorElementType::Int64 => Some(Element::Int64),
        TensorElementType::String => Some(Element::String),
        _ => None,
    }
}

/// A value that ONNX Runtime owns; released when dropped.
struct Value(NonNull<sys::OrtValue>);

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the pointer came from ONNX Runtime, and only this value holds it.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

impl Value {
    fn of(rows: usize, input: &Input<'_>) -> Result<Self, Fault> {
        use sys::ONNXTensorElementDataType::{
            ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        };
        match input {
            Input::Float32(numbers) => Self::borrowing(rows, numbers, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
            Input::Float64(numbers) => Self::borrowing(rows, numbers, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE),
            Input::Strings(strings) => Self::of_strings(rows, strings),
        }
    }

    /// A tensor over `numbers`, which the caller keeps until the run is over (`run` borrows them that long).
    fn borrowing<T>(rows: usize, numbers: &[T], dtype: sys::ONNXTensorElementDataType) -> Result<Self, Fault> {
        let shape = shape(rows, numbers.len())?;
        let mut value = ptr::null_mut();
        // SAFETY: data, length and shape are those of live slices; ONNX Runtime reads inputs only, in spite of the
        // mutable pointer.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                memory_info()?,
                numbers.as_ptr().cast_mut().cast::<c_void>(),
                size_of_val(numbers),
                shape.as_ptr(),
                shape.len(),
                dtype,
                &raw mut value,
            )
        };
        Self::owned(status, value)
    }

    fn of_strings(rows: usize, strings: &[&str]) -> Result<Self, Fault> {
        let shape = shape(rows, strings.len())?;
        let mut value = ptr::null_mut();
        // SAFETY: the shape is a live slice, the allocator is ONNX Runtime's own and lives as long as the process.
        let status = unsafe {
            let mut allocator = ptr::null_mut();
            checked((ort::api().GetAllocatorWithDefaultOptions)(&raw mut allocator))?;
            let dtype = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
            (ort::api().CreateTensorAsOrtValue)(allocator, shape.as_ptr(), shape.len(), dtype, &raw mut value)
        };
        let value = Self::owned(status, value)?;
        strings.iter().enumerate().try_for_each(|(index, string)| value.fill(index, string))?;
        Ok(value)
    }

    /// By length, not by a closing zero: two strings that differ after one stay different.
    fn fill(&self, index: usize, string: &str) -> Result<(), Fault> {
        let mut buffer = ptr::null_mut();
        // SAFETY: `index` is within the tensor's shape; ONNX Runtime gives a buffer of the length asked for.
        unsafe {
            checked((ort::api().GetResizedStringTensorElementBuffer)(
                self.0.as_ptr(),
                index,
                string.len(),
                &raw mut buffer,
            ))?;
            ptr::copy_nonoverlapping(string.as_ptr(), buffer.cast::<u8>(), string.len());
        }
        Ok(())
    }

    fn owned(status: sys::OrtStatusPtr, value: *mut sys::OrtValue) -> Result<Self, Fault> {
        checked(status)?;
        NonNull::new(value).map(Self).ok_or_else(|| Fault::load("ONNX Runtime made no tensor"))
    }

    fn read<T>(&self, read: impl FnOnce(&[i64], Data<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        use sys::ONNXTensorElementDataType as Dtype;
        let (shape, dtype) = self.shape()?;
        let count =
            shape.iter().try_fold(1_usize, |count, &dimension| count.checked_mul(usize::try_from(dimension).ok()?));
        let count = count.ok_or_else(|| Fault::load("an output has a shape without end"))?;
        let data = self.data()?;
        // SAFETY: ONNX Runtime owns `count` elements of this type at `data` for as long as the value lives.
        let data = unsafe {
            match dtype {
                Dtype::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT => Data::Float32(elements(data, count)),
                Dtype::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE => Data::Float64(elements(data, count)),
                Dtype::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 => Data::Int64(elements(data, count)),
                _ => return Err(Fault::load("an output is neither int64 nor a float")),
            }
        };
        read(&shape, data)
    }

    fn data(&self) -> Result<*mut c_void, Fault> {
        let mut data = ptr::null_mut();
        // SAFETY: the value is a live tensor.
        checked(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &raw mut data) })?;
        Ok(data)
    }

    fn shape(&self) -> Result<(Vec<i64>, sys::ONNXTensorElementDataType), Fault> {
        let api = ort::api();
        let mut info = ptr::null_mut();
        // SAFETY: the value is live; `info` is released below, whatever the calls between say; `shape` has the length
        // asked for.
        unsafe {
            checked((api.GetTensorTypeAndShape)(self.0.as_ptr(), &raw mut info))?;
            let (mut count, mut dtype) = (0, sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED);
            let mut read = checked((api.GetDimensionsCount)(info, &raw mut count));
            let mut shape = vec![0_i64; count];
            read = read.and_then(|()| checked((api.GetDimensions)(info, shape.as_mut_ptr(), count)));
            read = read.and_then(|()| checked((api.GetTensorElementType)(info, &raw mut dtype)));
            (api.ReleaseTensorTypeAndShapeInfo)(info);
            read.map(|()| (shape, dtype))
        }
    }
}

/// # Safety
/// `data` holds `count` elements of `T` for as long as `'a`, or `count` is 0.
unsafe fn elements<'a, T>(data: *mut c_void, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(data.cast::<T>(), count) }
}

fn shape(rows: usize, count: usize) -> Result<[i64; 2], Fault> {
    let width = count.checked_div(rows).unwrap_or_default();
    match (i64::try_from(rows), i64::try_from(width)) {
        (Ok(rows), Ok(width)) => Ok([rows, width]),
        _ => Err(Fault::load("a tensor of that size cannot be")),
    }
}

struct MemoryInfo(*const sys::OrtMemoryInfo);

// SAFETY: ONNX Runtime never writes to a memory info once it is made.
unsafe impl Send for MemoryInfo {}
// SAFETY: as above.
unsafe impl Sync for MemoryInfo {}

/// That of plain memory; made once, never released.
fn memory_info() -> Result<*const sys::OrtMemoryInfo, Fault> {
    static INFO: OnceLock<MemoryInfo> = OnceLock::new();
    if let Some(info) = INFO.get() {
        return Ok(info.0);
    }
    let mut info = ptr::null_mut();
    // SAFETY: the only pointer is one to a live local.
    checked(unsafe {
        (ort::api().CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtDeviceAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &raw mut info,
        )
    })?;
    Ok(INFO.get_or_init(|| MemoryInfo(info)).0)
}

fn checked(status: sys::OrtStatusPtr) -> Result<(), Fault> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that is not null is ours to read and to release, once.
    let message = unsafe {
        let message = CStr::from_ptr((ort::api().GetErrorMessage)(status.0)).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.0);
        message
    };
    Err(Fault::Load(format!("ONNX Runtime: {message}")))
}
