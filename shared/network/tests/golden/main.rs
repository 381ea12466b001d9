//! The network against golden numbers, which PyTorch computed in float64.

mod files;
mod full_network;
mod ten_steps;
