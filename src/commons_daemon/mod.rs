//! The process `cloudbox commons`: the core of the commons with its brokers, its files and the box's daemon around it.

pub mod identity;
pub mod links;
