//! Which exit code an error means.

use kernels::IsaError;
use network::ArchitectureError;
use process::Exit;
use settings::ConfigurationError;

use crate::memory::TooLarge;

/// What the shell is told about `error`: 2 where a flag or configuration key is wrong by itself, else 3.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    let wrong_by_itself = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<ConfigurationError>()
            || cause.is::<ArchitectureError>()
            || cause.is::<IsaError>()
            || cause.is::<TooLarge>()
    };
    if error.chain().any(wrong_by_itself) { Exit::Usage } else { Exit::BadInput }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_usage_and_the_rest_is_input() {
        let unknown = kernels::Isa::by_name("mmx").unwrap_err();
        assert_eq!(exit_of(&anyhow::Error::from(unknown).context("choose the instruction set")), Exit::Usage);
        let recipe = settings::recipe("papper").unwrap_err();
        assert_eq!(exit_of(&recipe.into()), Exit::Usage);
        assert_eq!(exit_of(&anyhow::anyhow!("no such folder")), Exit::BadInput);
    }
}
