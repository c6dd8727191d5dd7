//! Endpoints: balancers, health, pools, dialling.
