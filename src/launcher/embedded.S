/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of carrel-init. */
    .section .rodata
    .balign 4096
    .globl embedded_init
    .hidden embedded_init
    .globl embedded_init_end
    .hidden embedded_init_end
embedded_init:
    .incbin INIT
embedded_init_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
