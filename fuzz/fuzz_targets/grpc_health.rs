#![cfg_attr(fuzzing, no_main)]

weir_fuzz::target!(grpc_health);
