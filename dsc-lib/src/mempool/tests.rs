mod chain;
mod deferred;
mod model;
mod rules;
mod shared;
