#![cfg_attr(fuzzing, no_main)]

weir_fuzz::target!(proxy_protocol);
