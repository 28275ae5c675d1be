//! Requests that do not keep to the rules, or keep to them at somebody's cost.

mod bodies;
mod connections;
mod heads;
