mod chain;
mod model;
mod rules;
