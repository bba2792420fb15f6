//! Operations with a derivative of the user's own.
