//! The exit code of an error.

use kernels::IsaError;
use network::ArchitectureError;
use process::Exit;

use crate::memory::TooLarge;

/// Returns the exit with which a program ends after an error of setup or training: [`Exit::Usage`] if a flag
/// or a configuration key is wrong by itself or asks for more than this machine has, otherwise
/// [`Exit::BadInput`].
pub fn exit_of(error: &anyhow::Error) -> Exit {
    Exit::of(error.as_ref(), |cause| {
        cause.is::<ArchitectureError>() || cause.is::<IsaError>() || cause.is::<TooLarge>()
    })
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
