//! The instruction set as a value.
//!
//! An [`Isa`] can only be made by asking the machine, so holding one is the proof that its instructions run here;
//! everything below the dispatch in `simd` relies on that.

#[cfg(target_arch = "x86_64")]
use crate::simd::amx;
use crate::simd::matrix::Matrices;
use crate::value::Value;
use thiserror::Error;

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// What an [`Isa`] stands for; matched only in `simd::dispatch`.
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
    /// The same, and products of pairs of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// The same, and a unit for products of matrices of bf16.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// 32 registers of 4 floats.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The vector kernels on arrays of 16 floats, with the tiles of a machine with 16 registers.
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    Portable,
    /// The same with the tiles of AVX-512: proves their logic on machines that lack it.
    #[cfg(test)]
    PortableWide,
    /// The same with products of matrices.
    #[cfg(test)]
    PortableAmx,
}

/// Why an instruction set cannot be had by a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// The name is not one that the program knows.
    #[error("unknown instruction set {name:?}: expected one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// The program knows it, the machine lacks it.
    #[error("this machine has no {name}: choose one of {available}")]
    Absent {
        /// The name asked for.
        name: String,
        /// The names that can be had here, separated by commas.
        available: String,
    },
}

/// Instruction sets beyond the scalar loops, slowest first.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const KNOWN: [&str; 3] = ["neon", "avx2", "avx512"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const KNOWN: [&str; 4] = ["portable", "neon", "avx2", "avx512"];

impl Isa {
    /// The fastest of this machine.
    pub fn detect() -> Isa {
        *Isa::available().last().expect("the scalar loops run everywhere")
    }

    /// All that this machine has, scalar first, the fastest last.
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

    /// Names that the program knows and this machine lacks.
    pub fn absent() -> Vec<&'static str> {
        let available = Isa::available();
        KNOWN.into_iter().filter(|name| available.iter().all(|isa| isa.name() != *name)).collect()
    }

    /// The instruction set of that name, if this machine has it.
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

    /// The plain loops, everywhere.
    pub fn scalar() -> Isa {
        Isa(Kind::Scalar)
    }

    /// The same, and the fastest products of bf16 that the machine has.
    pub fn with_halves(self) -> Isa {
        self.all_with_halves().pop().unwrap_or(self)
    }

    /// The same with each instruction that the machine has for products of bf16: of pairs, of matrices.
    pub(crate) fn all_with_halves(self) -> Vec<Isa> {
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

    /// The unit for products of matrices of `T`, if it has one: of bf16.
    pub(crate) fn matrices<T: Value>(self) -> Option<Matrices> {
        match self.0 {
            _ if T::GROUP == 1 => None,
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => Some(Matrices::Amx),
            #[cfg(test)]
            Kind::PortableAmx => Some(Matrices::Portable),
            _ => None,
        }
    }

    /// Its name, as [`Isa::by_name`] takes it; with products of bf16, a name of its own.
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

    /// The array implementations, which run everywhere, once with each family of tiles.
    #[cfg(test)]
    pub(crate) fn portable() -> [Isa; 2] {
        [Isa(Kind::Portable), Isa(Kind::PortableWide)]
    }

    /// The one with products of matrices.
    #[cfg(test)]
    pub(crate) fn portable_matrices() -> Isa {
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
