/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the embedded program where it cannot be built (sanitizers): no bytes. */
    .section .rodata
    .globl embedded_init
    .hidden embedded_init
    .globl embedded_init_end
    .hidden embedded_init_end
embedded_init:
embedded_init_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
