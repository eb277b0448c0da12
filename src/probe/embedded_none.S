/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the embedded program where it cannot be built (sanitizers): no bytes. */
    .section .rodata
    .globl embedded_probe
    .hidden embedded_probe
    .globl embedded_probe_end
    .hidden embedded_probe_end
embedded_probe:
embedded_probe_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
