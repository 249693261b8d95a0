"""Kernel-stage IR to LLVM IR, PTX and machine code."""
