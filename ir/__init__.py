"""The intermediate representation: dialects, types, sizes, the operator contract."""
