//! GoogLeNet: layers, Inception, both auxiliary heads, forward and backward.
