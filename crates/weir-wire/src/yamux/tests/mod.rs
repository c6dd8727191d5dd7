mod bounds;
mod pair;
mod peers;
mod wire;
