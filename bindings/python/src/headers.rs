//! Metadata as Python sees it: a list of names and values; values are `str`, or `bytes` under a name that ends in `-bin`.

use micro_bridge::Headers;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

/// Packs names and values into a block.
#[pyfunction]
pub(crate) fn pack<'py>(
    py: Python<'py>,
    entries: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &block(entries)?))
}

/// Unpacks a block, or two that follow each other, into lists of names and values.
#[pyfunction]
pub(crate) fn unpack<'py>(
    py: Python<'py>,
    blocks: &[u8],
) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
    let mut first = Headers::new(blocks);
    let one = list(py, &mut first)?;
    let two = list(py, &mut Headers::new(first.rest()))?;
    Ok((one, two))
}

fn list<'py>(py: Python<'py>, headers: &mut Headers<'_>) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    for (name, value) in headers {
        let value = match std::str::from_utf8(value) {
            Ok(text) if !name.ends_with(b"-bin") => PyString::new(py, text).into_any(),
            _ => PyBytes::new(py, value).into_any(),
        };
        out.append((String::from_utf8_lossy(name), value))?;
    }
    Ok(out)
}

/// A block of names and values.
pub(crate) fn block(entries: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = vec![0; 4];
    let mut count = 0u32;
    for entry in entries.try_iter()? {
        let (name, value): (String, Bound<'_, PyAny>) = entry?.extract()?;
        add(&mut out, &name, &value)?;
        count += 1;
    }
    out[..4].copy_from_slice(&count.to_ne_bytes());
    Ok(if count == 0 { Vec::new() } else { out })
}

fn add(out: &mut Vec<u8>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let bytes = match value.extract::<String>() {
        Ok(text) => text.into_bytes(),
        Err(_) => crate::payload::bytes_of(value).map(Vec::from).map_err(|_| {
            let kind = value.get_type();
            PyTypeError::new_err(format!("metadata `{name}` is {kind}: give str, or bytes"))
        })?,
    };
    for part in [name.as_bytes(), &bytes] {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_ne_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&bytes);
    Ok(())
}

/// A block of one name and value.
pub(crate) fn one(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut out = 1u32.to_ne_bytes().to_vec();
    add(&mut out, name, value)?;
    Ok(out)
}
