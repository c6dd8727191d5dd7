//! YAML text to a located tree, the table of keys, and problems with a place.
