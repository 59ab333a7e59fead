"""Other kernels than the one underfoot: Debian's, booted under emulation with this Python in them."""
