//! Messages on their way into Python and out of it.

use std::ffi::{c_int, c_void};
use std::ptr;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Longest message that is copied into `bytes`; a longer one is looked at where it is.
const COPIED: usize = 16 * 1024;

/// A long message where the network left it. Read it through the buffer protocol: `memoryview(payload)`, `bytes(payload)`.
#[pyclass(frozen, module = "micro._micro")]
pub(crate) struct Payload(Bytes);

#[pymethods]
impl Payload {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!("<Payload of {} bytes>", self.0.len())
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        let length = isize::try_from(bytes.len())
            .map_err(|_| PyBufferError::new_err("longer than memory"))?;
        // SAFETY: `view` is Python's to fill. The bytes never change and live as long as the object, which the view holds.
        let filled = unsafe {
            let start = bytes.as_ptr().cast_mut().cast::<c_void>();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 1, flags)
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        debug_assert!(!ptr::eq(view, ptr::null_mut()));
    }
}

/// A message as Python sees it.
pub(crate) fn message(py: Python<'_>, bytes: Bytes) -> PyResult<Py<PyAny>> {
    if bytes.len() <= COPIED {
        return Ok(PyBytes::new(py, &bytes).into_any().unbind());
    }
    Ok(Py::new(py, Payload(bytes))?.into_any())
}

/// The bytes of `bytes`, a payload, or anything with a buffer.
pub(crate) fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    if let Ok(payload) = object.cast::<Payload>() {
        return Ok(payload.get().0.clone());
    }
    let buffer = PyBuffer::<u8>::get(object)
        .map_err(|_| PyTypeError::new_err(format!("expected bytes, not {}", object.get_type())))?;
    buffer.to_vec(object.py()).map(Bytes::from)
}
