//! The wire: generated code, domain types, client with retry, server glue.
