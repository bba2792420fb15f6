//! Memory, dtypes, shapes, strides, devices and errors.
