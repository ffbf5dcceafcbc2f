//! Whole-system proofs: interop with real peers and conformance.
