//! From image files, or from the drawn set, to minibatches.
