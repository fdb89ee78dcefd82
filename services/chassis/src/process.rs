//! A process: how it is asked, how it speaks to whoever started it, how it ends.

pub mod admin;
pub mod check;
pub mod stop;
pub mod terminal;
