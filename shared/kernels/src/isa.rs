//! The instruction set of this machine, represented as a value.
//!
//! An [`Isa`] is only made by detection, so that holding one proves that its instructions run on this
//! machine. All code below the dispatch in `simd` relies on that.

#[cfg(target_arch = "x86_64")]
use crate::simd::amx;
use crate::simd::amx::Amx;
use crate::value::Value;
use thiserror::Error;

/// An instruction set for the kernels to run on. A value exists only for a set that this machine has, or for
/// the plain scalar loops, which run everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// The instruction sets that an [`Isa`] can stand for; matched only in `simd::dispatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The plain reference loops.
    Scalar,
    /// 16 registers of 8 floats, fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 32 registers of 16 floats.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with multiply-adds of pairs of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// AVX-512 with multiply-adds of pairs of bf16, and AMX tiles of bf16.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// 32 registers of 4 floats.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The vector kernels on arrays of 16 floats, with the tiles of a machine with 16 registers.
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    Portable,
    /// [`Kind::Portable`] with the register tiles of AVX-512, which tests their logic on machines without it.
    #[cfg(test)]
    PortableWide,
    /// [`Kind::PortableWide`] with portable AMX tiles.
    #[cfg(test)]
    PortableAmx,
}

/// Reasons why an instruction set cannot be selected by its name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// A name that denotes no known instruction set.
    #[error("unknown instruction set {name:?}: expected one of {known}")]
    Unknown {
        /// Name of the instruction set that was asked for.
        name: String,
        /// Names of all instruction sets that the program knows, separated by commas.
        known: String,
    },
    /// An instruction set that the program knows and the machine lacks.
    #[error("this machine has no {name}: choose one of {available}")]
    Absent {
        /// Name of the instruction set that was asked for.
        name: String,
        /// Names of the instruction sets of this machine, separated by commas.
        available: String,
    },
}

/// Names of the instruction sets beyond the scalar loops, slowest first.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const KNOWN: [&str; 3] = ["neon", "avx2", "avx512"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const KNOWN: [&str; 4] = ["portable", "neon", "avx2", "avx512"];

impl Isa {
    /// The fastest instruction set of this machine.
    pub fn detect() -> Isa {
        *Isa::available().last().expect("the scalar loops run everywhere")
    }

    /// All instruction sets of this machine, from the scalar loops to the fastest.
    pub fn available() -> Vec<Isa> {
        let mut found = vec![Isa::scalar()];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                found.push(Isa(Kind::Avx2));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Isa(Kind::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa(Kind::Neon));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        found.push(Isa(Kind::Portable));
        found
    }

    /// Names of the instruction sets that the program knows and this machine lacks.
    pub fn absent() -> Vec<&'static str> {
        let available = Isa::available();
        KNOWN.into_iter().filter(|name| available.iter().all(|isa| isa.name() != *name)).collect()
    }

    /// Returns the instruction set called `name`.
    ///
    /// # Errors
    /// If the program does not know the name, or the machine lacks the instruction set.
    pub fn by_name(name: &str) -> Result<Isa, IsaError> {
        let available = Isa::available();
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        if KNOWN.contains(&name) {
            let available: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
            return Err(IsaError::Absent { name: name.into(), available: available.join(", ") });
        }
        Err(IsaError::Unknown { name: name.into(), known: format!("scalar, {}", KNOWN.join(", ")) })
    }

    /// The scalar reference loops, which run everywhere.
    pub fn scalar() -> Isa {
        Isa(Kind::Scalar)
    }

    /// Returns this instruction set together with the fastest bf16 instructions of the machine.
    pub fn with_bf16(self) -> Isa {
        self.all_with_bf16().pop().unwrap_or(self)
    }

    /// Returns one variant of this instruction set for each kind of bf16 instructions that the machine has:
    /// multiply-adds of pairs, AMX tiles.
    pub(crate) fn all_with_bf16(self) -> Vec<Isa> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "no other machine has such a kind")
        )]
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if self.0 == Kind::Avx512 && is_x86_feature_detected!("avx512bf16") {
            found.push(Isa(Kind::Avx512Bf16));
            if amx::available() {
                found.push(Isa(Kind::Amx));
            }
        }
        found
    }

    /// The AMX tiles for matrix multiplies of `T`: only bf16 has them.
    pub(crate) fn amx<T: Value>(self) -> Option<Amx> {
        match self.0 {
            _ if T::GROUP == 1 => None,
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => Some(Amx::Hardware),
            #[cfg(test)]
            Kind::PortableAmx => Some(Amx::Portable),
            _ => None,
        }
    }

    /// Name of the instruction set, as [`Isa::by_name`] takes it; a set with bf16 instructions has a name of
    /// its own.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => "amx",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
            Kind::Portable => "portable",
            #[cfg(test)]
            Kind::PortableWide => "portable-wide",
            #[cfg(test)]
            Kind::PortableAmx => "portable-amx",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// The portable implementations, once with each family of register tiles.
    #[cfg(test)]
    pub(crate) fn portable() -> [Isa; 2] {
        [Isa(Kind::Portable), Isa(Kind::PortableWide)]
    }

    /// The portable implementation with AMX tiles.
    #[cfg(test)]
    pub(crate) fn portable_amx() -> Isa {
        Isa(Kind::PortableAmx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_either_available_or_absent() {
        let available = Isa::available();
        let absent = Isa::absent();
        let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
        println!("kernels are tested on: {}; absent here: {}", names.join(", "), absent.join(", "));
        assert_eq!(available[0], Isa::scalar());
        assert_eq!(available.len() - 1 + absent.len(), KNOWN.len());
        for isa in available {
            assert_eq!(Isa::by_name(isa.name()), Ok(isa));
        }
        for name in absent {
            assert!(matches!(Isa::by_name(name), Err(IsaError::Absent { .. })));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Isa::by_name("mmx").unwrap_err().to_string();
        assert!(error.contains("\"mmx\"") && error.contains("scalar") && error.contains("avx2"), "{error}");
    }
}
