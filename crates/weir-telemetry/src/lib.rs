//! What code may emit: counters, histograms, access records, events.
