mod alike;
mod long;
