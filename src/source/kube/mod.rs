//! Objects from an API server: one watch for each object, shared by its volumes.
