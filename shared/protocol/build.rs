//! Compiles `proto/downpour/v1` without protoc.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["access", "common", "coordinator", "pictures", "shards"]
        .map(|name| format!("downpour/v1/{name}.proto"));
    let descriptors = protox::compile(files, [&root])?;
    tonic_prost_build::configure()
        // Blocks are slices of what came from the network, not copies.
        .bytes(".")
        // The comments are in the proto files, for whoever reads the wire; the generated types are not
        // public.
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
